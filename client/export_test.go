package client

// ChallengeError is for its tests and fuzz target.
var ChallengeError = challengeError
