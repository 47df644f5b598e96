package worker

import (
	"errors"

	"cooper/builder/buildkit"
	"cooper/internal/model"
)

func (w *Worker) limits() (oom, pids int64) {
	if w.Limits == nil {
		return 0, 0
	}
	return w.Limits()
}

// limited gives a failed step the code of the limit that was hit while it ran.
func (w *Worker) limited(err error, oomBefore, pidsBefore int64) error {
	var step *buildkit.StepError
	if !errors.As(err, &step) || step.Cause.Code != model.CodeStepFailed {
		return err
	}
	oom, pids := w.limits()
	cause := *step.Cause
	switch {
	case oom > oomBefore:
		cause.Code = model.CodeMemoryLimit
		cause.Message = "The builder's memory limit was reached. " + cause.Message
	case pids > pidsBefore:
		cause.Code = model.CodePidsLimit
		cause.Message = "The builder's limit of processes was reached. " + cause.Message
	}
	return &buildkit.StepError{ExitCode: step.ExitCode, Cause: &cause}
}
