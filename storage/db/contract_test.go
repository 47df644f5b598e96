package db

import "testing"

// runStoreContract holds every method of a store against what builder.Store promises of it. open makes an empty store
// that the test closes. Each test ends with a check that all that is derived is right.
func runStoreContract(t *testing.T, open func(testing.TB) *DB) {
	for name, test := range map[string]func(*testing.T, *DB){
		"create records the build whole":           testCreateWhole,
		"create joins an equal build in flight":    testCreateJoins,
		"create does not join what was left":       testCreateNotLeft,
		"create without input digest joins none":   testCreateNoDigest,
		"create with an idempotency key":           testCreateIdempotent,
		"an idempotency key is forgotten":          testIdempotencyForgotten,
		"create refuses more than the queue bears": testCreateQueueFull,
		"create refuses what cannot be":            testCreateRefuses,
		"create races end in one build":            testCreateRace,
		"create bears any text":                    testCreateAnyText,
		"start moves job and build":                testStart,
		"start races have one winner":              testStartRace,
		"finish makes the build's state":           testFinishStates,
		"finish names the platform that failed":    testFinishError,
		"finish gives a reason always":             testFinishReason,
		"finish writes the image with the job":     testFinishImage,
		"finish refuses what ends no job":          testFinishRefuses,
		"leases":                                   testLeases,
		"requeue counts attempts":                  testRequeue,
		"leave counts askers":                      testLeave,
		"cancel ends what is queued":               testCancelQueued,
		"a clock set back":                         testClockBack,
		"unknown IDs are not found":                testNotFound,
		"outbox":                                   testOutbox,
		"queued too long":                          testQueuedSince,
		"logs to store":                            testLogs,
		"queue position":                           testQueuePosition,
		"builds by filter":                         testBuildsFilter,
		"builds page by page":                      testBuildsPages,
		"in flight by tag":                         testInFlight,
		"images by filter":                         testImagesFilter,
		"images page by page":                      testImagesPages,
		"image is replaced whole":                  testImageReplaced,
		"a component's build is kept whole":        testComponentBuildWhole,
		"finish writes the component with the job": testComponentValue,
		"no value without a tarball":               testComponentNone,
		"a component's tag moves":                  testComponentMoves,
		"components that end out of order":         testComponentLate,
		"components that end at once":              testComponentRace,
		"a component's platforms":                  testComponentPlatforms,
		"components by filter and page by page":    testComponentsFilter,
		"a component's source is remembered":       testComponentSource,
		"tarballs in use":                          testTarballUsed,
		"builds of an input":                       testOfInput,
		"the last of an input of one platform":     testOfInputOfOnePlatform,
		"join counts askers":                       testJoin,
		"waits hold jobs back":                     testWaitsHoldBack,
		"waiting makes no job late":                testWaitsAge,
		"waits that ended":                         testEndedWaits,
		"waits give back what they asked":          testWaitsGiveBack,
		"waits for one platform of several":        testEndedPlatforms,
		"waits are dropped":                        testDropWaits,
		"waits for what is not there":              testWaitsRefused,
		"joining adds no waits":                    testWaitsJoined,
		"waits that end at once":                   testWaitsRace,
		"many writers":                             testManyWriters,
		"callers that give up":                     testGivingUp,
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			test(t, d)
			requireConsistent(t, d)
		})
	}
}
