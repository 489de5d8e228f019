// Package jobs holds what follows the change feed and tells others of it.
//
// A [Notice] is what webhooks and mails say of an event, and [Backoff] when they are tried again.
//
// [EMQX] tells a cluster of EMQX, which asks Cardea who may do what, when an answer that
// it was given does not hold any more. A cluster keeps answers, and sessions that it has let
// in; so it is told to forget the first and to end the second:
//
//	job, err := jobs.NewEMQX(jobs.EMQXConfig{Store: s, URL: "https://emqx:18083", Key: key, Secret: secret, Client: client, Log: log})
//	go job.Run(ctx)
//
// How far it has come is a setting, "emqx.cursor", that moves only after the cluster
// has done what it was asked. So neither a restart nor a cluster that is away for an hour loses anything. Of
// several nodes one at a time does the work.
package jobs
