package queue

import (
	"fmt"
	"log/slog"
)

// serverLog hands the embedded server's messages to our log. Its notices are about itself, so they are debugging to us.
type serverLog struct {
	log     *slog.Logger
	fatal   chan<- string // gets the first reason for which the server gave up
	trouble func()        // called with each error
}

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug("nats: " + fmt.Sprintf(format, v...))
}

func (l serverLog) Warnf(format string, v ...any) { l.log.Warn("nats: " + fmt.Sprintf(format, v...)) }

func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error("nats: " + fmt.Sprintf(format, v...))
	l.trouble()
}

func (l serverLog) Debugf(format string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(format, v...)) }

func (l serverLog) Tracef(format string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(format, v...)) }

// Fatalf does not end the process: whoever started the server hears of it and decides.
func (l serverLog) Fatalf(format string, v ...any) {
	why := fmt.Sprintf(format, v...)
	l.log.Error("nats: " + why)
	select {
	case l.fatal <- why:
	default:
	}
}
