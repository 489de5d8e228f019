// Package broker is an MQTT 3.1.1 and 5.0 broker for one node. It trusts
// whoever connects: who may connect, publish and subscribe has been decided by
// the door in front of it, and client ids arrive as the door has written them.
//
//	b, err := broker.New(broker.Config{Dir: dir, Log: log})
//	…
//	go b.Serve(conn) // for each connection, from CONNECT on
//	…
//	b.Close()
//
// A publisher never waits for a subscriber. What cannot be delivered at once
// waits in the session that it is for: QoS 1 and 2 within [Limits], in
// the order in which it came; QoS 0 as far as the output has room.
//
// What has been acknowledged is on disk. A message for a session that outlives its
// connection is written to the log with the sessions that it is for, and
// PUBACK or PUBREC is sent when that is synced; one sync serves everybody who waits
// for it. Messages that only live, short sessions get do not touch the disk. What
// subscribers acknowledge is written later, so that after a crash QoS 1 may come
// twice, as the standard has it. QoS 2 does not: its packet identifiers
// follow from the position of a message in its session, and are the same after a restart.
//
// Section numbers in comments are those of MQTT 5.0 (OASIS, 7 March 2019).
package broker
