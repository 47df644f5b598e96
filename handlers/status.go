package handlers

import (
	"net/http"

	"cooper/internal/model"
)

// statusOf returns the HTTP status of a code. One that is not in the table is our own mistake, hence a 500.
func statusOf(code model.Code) int {
	for _, group := range statusTable() {
		for _, c := range group.codes {
			if c == code {
				return group.status
			}
		}
	}
	return http.StatusInternalServerError
}

type statusGroup struct {
	status int
	codes  []model.Code
}

// statusTable is the one table from codes to HTTP statuses. Every code is in it once. The codes of builds that failed
// are here too, although a build's failure is told in a 200: a call may be refused for the same reason.
func statusTable() []statusGroup {
	return []statusGroup{
		{http.StatusBadRequest, []model.Code{
			model.CodeBodyMalformed, model.CodeFieldUnknown, model.CodeFieldDuplicate, model.CodeParamInvalid, model.CodeIDInvalid,
			model.CodeOffsetInvalid, model.CodeMultipartMalformed, model.CodeMultipartTruncated, model.CodeMultipartTooManyParts,
		}},
		{http.StatusUnauthorized, []model.Code{
			model.CodeAuthMissing, model.CodeAuthInvalid, model.CodeAuthExpired, model.CodeAuthRevoked,
		}},
		{http.StatusForbidden, []model.Code{
			model.CodeScopeInsufficient, model.CodeFrontendNotAllowed, model.CodeEntitlementDenied, model.CodeSourceDenied,
			model.CodeURLHostDenied, model.CodeURLPortDenied, model.CodeRedirectDenied,
		}},
		{http.StatusNotFound, []model.Code{model.CodeNotFound, model.CodeComponentNotFound}},
		{http.StatusMethodNotAllowed, []model.Code{model.CodeMethodNotAllowed}},
		{http.StatusRequestTimeout, []model.Code{model.CodeBodyTimeout}},
		{http.StatusConflict, []model.Code{
			model.CodeIdempotencyKeyReused, model.CodeTagExists, model.CodeRefAmbiguous, model.CodeCanceled, model.CodeLeaseLost,
			model.CodeBuildAlreadyFinished, model.CodePathNotAvailable,
		}},
		{http.StatusRequestEntityTooLarge, []model.Code{
			model.CodeBodyTooLarge, model.CodeDockerfileTooLarge, model.CodeSecretTooLarge, model.CodeContextTooLarge,
			model.CodeContextTooManyFiles, model.CodeRepoTooLarge, model.CodeRepoTooManyFiles,
		}},
		{http.StatusPreconditionFailed, []model.Code{model.CodePreconditionFailed}},
		{http.StatusRequestedRangeNotSatisfiable, []model.Code{model.CodeRangeNotSatisfiable}},
		{http.StatusUnsupportedMediaType, []model.Code{model.CodeUnsupportedMediaType}},
		{http.StatusUnprocessableEntity, unprocessable()},
		{http.StatusTooManyRequests, []model.Code{model.CodeRateLimited, model.CodeQueueFull, model.CodeTooManyStreams}},
		{http.StatusInternalServerError, []model.Code{model.CodeInternal, model.CodeArtifactCorrupt}},
		{http.StatusBadGateway, []model.Code{model.CodePushFailed}},
		{http.StatusServiceUnavailable, []model.Code{
			model.CodeUnavailable, model.CodeShuttingDown, model.CodeSecretLost, model.CodeBuilderUnavailable, model.CodeWorkerLost,
			model.CodeNoWorkerForPlatform,
			model.CodeJobExpired,
		}},
		{http.StatusInsufficientStorage, []model.Code{model.CodeStorageFull}},
	}
}

// unprocessable are the codes of requests that can be read and cannot be done as they are.
func unprocessable() []model.Code {
	return []model.Code{
		model.CodeFieldType, model.CodeFieldRequired, model.CodeFieldInvalid, model.CodeFieldInvalidChar,
		model.CodeNameInvalid, model.CodeNameTooLong, model.CodeRefInvalid, model.CodeTagInvalid, model.CodePlatformUnsupported,
		model.CodeBuildArgInvalid, model.CodeTimeoutInvalid, model.CodeLabelInvalid,
		model.CodeDockerfileRequired, model.CodeDockerfileEmpty, model.CodeDockerfileNoStage, model.CodeDockerfileLineTooLong,
		model.CodeDockerfileEncoding, model.CodeDockerfileParse, model.CodeDockerfileTooComplex, model.CodeTargetNotFound,
		model.CodeSecretMissing, model.CodeSecretInvalid, model.CodeSSHNotAvailable, model.CodeSourceInvalid,
		model.CodeContextNotTar, model.CodeContextTruncated, model.CodeContextPathEscape, model.CodeContextEntryType,
		model.CodeContextMalformed, model.CodeDockerignoreInvalid,
		model.CodeURLInvalid, model.CodeURLSchemeNotAllowed, model.CodeURLCredentials,
		model.CodeGitNotARepo, model.CodeGitAuthRequired, model.CodeGitRepoNotFound, model.CodeGitTLS, model.CodeGitTimeout,
		model.CodeGitUnreachable, model.CodeRefNotFound, model.CodeRepoEmpty,
		model.CodeStepFailed, model.CodeMemoryLimit, model.CodePidsLimit, model.CodeDiskLimit, model.CodeBaseImageNotFound,
		model.CodeCopySourceNotFound, model.CodePathOutsideContext, model.CodeBuildFailed, model.CodeBuildTimeout,
		model.CodeTooManyItems, model.CodeRecipeNotFound, model.CodeRecipeInvalid, model.CodeDependencyInvalid,
		model.CodeDependencyCycle, model.CodeDependencyFailed, model.CodeSubmoduleDenied, model.CodeSubmoduleDepth,
		model.CodeLFSNotSupported, model.CodeComponentEmpty, model.CodeComponentTooLarge, model.CodeComponentEntryType,
	}
}
