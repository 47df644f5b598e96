package model

import (
	"errors"
	"fmt"
)

// Error is the one error that may be shown to a caller. Everything in it but Err is safe to show: no host path, stack
// or secret may be put there. Err is the cause, for our own log.
type Error struct {
	Code    Code
	Field   string   // the request's field or parameter at fault, in the API's spelling
	Message string   // what was wrong and what to do, in one or two sentences
	Line    int      // line of the Dockerfile or file at fault, from 1; 0 when there is none
	Allowed []string // what would have been accepted, when that is a list
	Err     error
}

// Errorf makes an Error whose message is safe to show.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// FieldErrorf makes an Error that names the request's field at fault.
func FieldErrorf(code Code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns a copy of e that carries cause for the log.
func (e *Error) Wrap(cause error) *Error {
	c := *e
	c.Err = cause
	return &c
}

// AtLine returns a copy of e that names a line.
func (e *Error) AtLine(line int) *Error {
	c := *e
	c.Line = line
	return &c
}

func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code that err carries, or CodeInternal when it carries none. It returns "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// AsError returns the Error that err carries, or an internal one that hides what it says and wraps it.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: "Something failed inside the server. The server's log has the cause under this requestId.", Err: err}
}
