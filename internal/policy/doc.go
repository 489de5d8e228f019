// Package policy gives rules their meaning. It matches, compares and checks
// them; it knows nothing of principals, credentials or protocols' wires.
//
// A rule allows or denies an action on a resource. Rules come in scopes, and
// scopes are compiled to a [Set]. A set allows an [Access] if some allow
// matches it and no deny does. What an identity may is its [Rights], two sets
// that must both allow: its principal's and, if it names scopes, its credential's;
// and up to three bounds that it must not leave.
//
//	set, err := policy.Compile([]credential.Scope{{Name: "telemetry:write", Rules: []credential.Rule{
//		{Permission: credential.Allow, Action: "mqtt:publish", Resource: "db/append/#"},
//		{Permission: credential.Allow, Action: "http:POST", Resource: "/db/write/*"},
//	}}})
//	d := policy.Rights{Principal: set}.Decide(&policy.Access{Proto: policy.HTTP, Verb: "POST", Resource: "/db/write/example"})
//
// # Resources
//
// The resource * is everything of its action's protocol. Beside it, paths of
// HTTP, methods of gRPC and objects of the API are matched segment by segment:
// * is one segment that is not empty, a final ** is all that follows, so /db/**
// is /db/ and whatever begins with it, but not /db. Paths are compared as
// [CanonicalPath] returns them, case and final "/" included. A method is only
// itself: a rule for GET does not allow HEAD.
//
// Topics are matched as MQTT 5.0, 4.7 says. A wildcard in front does not match
// topics that begin with $; the resource * does.
//
// # Templates
//
// A level or segment may have variables: dev/${principal}/#, x-${client_id},
// /plant/${attr.site}/**. They stand for the name and the attributes of the
// [Holder] of the rights, and for the client id of the access, at the moment of
// the decision. A value never is more than a part of its level (M10): one that
// is missing, empty or has + # / or a control character, that would begin a topic
// with $, or that no path could have, is not taken. An allow then matches
// nothing, and a deny whatever its level could be, as if a wildcard stood there,
// topics that begin with $ included.
//
// # Subscriptions
//
// A subscription asks for a filter, that is for many topics. It is allowed if
// one allow holds all of them ([Subset]) and no deny is about any ([Overlap]).
// Allows do not add up. A delivery is one topic, judged by the same rules.
//
// A subscription at QoS q brings what was published at q and below. An allow
// for some QoS therefore allows subscriptions at these, and deliveries up to the
// highest of them. A deny for some QoS refuses deliveries at these, and every
// subscription at the lowest of them or above, though it might bring nothing at
// that QoS. So what is allowed as a subscription is allowed as its deliveries.
//
// Retain is a condition of publishing. In a rule for mqtt:* it says nothing of
// the subscribing half, which holds with and without it.
//
// # Networks
//
// A rule with networks is about sources in one of them; IPv4 in IPv6 is taken
// as IPv4. Of a source that is not known, allows with networks say nothing, and
// denies with networks deny.
//
// # Bounds
//
// A credential, its project and its organisation can each be held to resources:
// http:/db/query/orders/**, mqtt:sensors/hall-3/#, grpc:/pkg.Svc/*, api:/scopes/*. They
// are compiled to a set of allows for all actions of the protocol ([CompileResources]).
// What the rules allow must lie within one resource of each bound, or it is
// refused as [credential.OutsideResources]. A bound allows nothing by itself, and what it does not
// speak of is outside: a credential that is held to topics reaches no path. The
// bounds of projects and organisations are of data, and leave the API to the rules.
//
// A subscription must lie within one resource of each bound as a whole, so its
// deliveries do too. Variables stand for the same as in rules. Nobody grants
// beyond what they are held to ([Rights.Covers]). Beside an ACL only the organisation's bound
// counts: who has an ACL has no credential and no project.
//
// # What was exercised
//
// A [Decision] tells by which rule the access was allowed, as a place in the
// narrower of the two sets, for whoever looks for scopes that nobody needs
// ([Rights.Scope]). If several rules allow it is the first, so without the scopes that are
// never named everything that was done is still allowed. But a scope may be there for what it
// denies: that is not seen here, and without it more is allowed.
//
// # ACLs
//
// An [ACL] is what a REST service answers with as "acl", in the form that EMQX
// has given such rules: permission; action, publish, subscribe or all; topic or
// topics; qos and retain. Its rules are looked at in order, and the first that
// matches decides; if none does nothing is allowed. It takes the place of the
// sets in the [Rights] of an identity.
//
// In topics, ${username}, ${clientid}, ${cert_common_name}, ${zone} and
// ${client_attrs.NAME} are as the variables of templates above, with what they
// say of values that no level takes; ${$} is a dollar sign. username_re,
// clientid_re, zone, zone_re, listener, listener_re and ipaddr are further
// conditions, all of which must hold. Expressions are RE2's, found anywhere in
// the value. Fields that are not known are ignored; a rule that is wrong in any
// other way refuses the whole list.
//
// A subscription is matched by an allow that holds all of it, and by a deny that
// is about any of it. So a deny also refuses wider subscriptions, if no rule before it
// allows them; and the first rule that matches a subscription allows its deliveries, because
// no deny before it is about any.
//
// "eq " before a topic means the words as they are written, without wildcards and
// placeholders. What is written may have wildcards: then the rule is about the
// subscription to that filter alone, and an allow also about what comes by it.
package policy
