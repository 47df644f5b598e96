package queue

import (
	"context"
	"encoding/json"

	"github.com/nats-io/nats.go/jetstream"

	"cooper/internal/model"
)

// Delivery is an order that was handed to a worker. Exactly one of Done and Return must be called.
type Delivery interface {
	Order() model.Order
	// Done takes the order off the queue: it was claimed, or is no longer due.
	Done() error
	// Return puts the order back, to be handed out again about a second later.
	Return() error
}

// delivery is an order's message. Its sequence in the stream tells which of two orders is older.
type delivery struct {
	msg      jetstream.Msg
	order    model.Order
	sequence uint64
}

// newDelivery reads the order in msg.
func newDelivery(msg jetstream.Msg) (*delivery, error) {
	d := &delivery{msg: msg}
	if err := json.Unmarshal(msg.Data(), &d.order); err != nil {
		return nil, err
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	d.sequence = meta.Sequence.Stream
	return d, nil
}

func (d *delivery) Order() model.Order { return d.order }

// Done waits for the server's word, so that nil means that nobody gets the order again.
func (d *delivery) Done() error {
	ctx, cancel := context.WithTimeout(context.Background(), requestWait)
	defer cancel()
	if err := d.msg.DoubleAck(ctx); err != nil {
		return unavailable(ctx, err)
	}
	return nil
}

func (d *delivery) Return() error {
	if err := d.msg.NakWithDelay(returnDelay); err != nil {
		return unavailable(context.Background(), err)
	}
	return nil
}
