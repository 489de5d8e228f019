package mqttdoor

import (
	"cardea/internal/credential"
	"cardea/internal/gate"
	"cardea/internal/mqtt"
)

// refusals is the door's one table from what a caller may learn to the reason
// code of a CONNACK. MQTT 3.1.1 gets what [mqtt.Code.ReturnCode] makes of it: 5, or 3 if it may come again.
var refusals = [...]mqtt.Code{
	credential.Accepted:       mqtt.Success,
	credential.InvalidRequest: mqtt.NotAuthorized,
	credential.InvalidToken:   mqtt.NotAuthorized,
	credential.Forbidden:      mqtt.NotAuthorized,
	credential.SlowDown:       mqtt.ConnectionRateExceeded,
	credential.CannotKnow:     mqtt.ServerUnavailable,
}

// denials is the same for one message or filter of a session that lives.
var denials = [...]mqtt.Code{
	credential.Accepted:       mqtt.Success,
	credential.InvalidRequest: mqtt.NotAuthorized,
	credential.InvalidToken:   mqtt.NotAuthorized,
	credential.Forbidden:      mqtt.NotAuthorized,
	credential.SlowDown:       mqtt.QuotaExceeded,
	credential.CannotKnow:     mqtt.ImplementationSpecific,
}

// refusalFor is the code of a CONNACK, or of a DISCONNECT after one, for whoever may not come in or stay. Whose credential has
// spent what it may is told so: they have proved that it is theirs.
func refusalFor(why credential.Reason) mqtt.Code {
	if gate.Violated(why) != "" {
		return mqtt.QuotaExceeded
	}
	return refusals[why.Class()]
}

// farewell is the reason code of the DISCONNECT with which the gate's cut ends a session.
func farewell(why credential.Reason) mqtt.Code {
	switch why {
	case credential.Kicked:
		return mqtt.AdministrativeAction
	case credential.Draining:
		return mqtt.ServerShuttingDown
	case credential.Unavailable:
		return mqtt.ServerUnavailable
	}
	return mqtt.NotAuthorized
}

// subackCode is a code as a SUBACK of the version has it: 3.1.1 has one failure (3.9.3 there).
func subackCode(v mqtt.Version, c mqtt.Code) byte {
	if v < mqtt.V5 && c.Failed() {
		return byte(mqtt.Unspecified)
	}
	return byte(c)
}
