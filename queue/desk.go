package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cooper/internal/model"
)

// desk hands orders to those who wait in Next. Per platform that anybody waits for, one goroutine asks the server for
// one order at a time: first whether one is there, then for the next to come. Because it first asks every platform,
// a worker of several platforms gets the oldest order of all of them. An order that came for nobody goes straight back.
type desk struct {
	conn    *Conn
	mu      sync.Mutex
	settled *sync.Cond // on mu: something was handed out or given back
	waiting []*waiter  // first come, first served
	pulls   map[string]*pull
	running sync.WaitGroup
}

// waiter is one call of Next.
type waiter struct {
	platforms []string
	got       chan *delivery // of capacity 1
}

// pull is what a platform's goroutine does. Fields are guarded by desk.mu.
type pull struct {
	running bool
	asking  bool      // it is not known yet whether an order is there
	held    *delivery // came, and is not handed out yet
}

func newDesk(c *Conn) *desk {
	d := &desk{conn: c, pulls: map[string]*pull{}}
	d.settled = sync.NewCond(&d.mu)
	return d
}

// Next waits for an order for one of platforms, the oldest first. An order that is neither done nor returned within
// half a minute is handed out again. It returns ctx's error when ctx ends, and SHUTTING_DOWN after Close.
func (c *Conn) Next(ctx context.Context, platforms []string) (Delivery, error) {
	if len(platforms) == 0 {
		return nil, model.Errorf(model.CodeFieldRequired, "A worker must name at least one platform.")
	}
	for _, p := range platforms {
		if _, err := platformToken(p); err != nil {
			return nil, err
		}
	}
	w := c.desk.enter(platforms)
	select {
	case d := <-w.got:
		return d, nil
	case <-ctx.Done():
		c.desk.leave(w)
		return nil, ctx.Err()
	case <-c.ctx.Done():
		c.desk.leave(w)
		return nil, model.Errorf(model.CodeShuttingDown, "The queue is being closed.")
	}
}

// enter puts a waiter in line and starts the pulls that it needs.
func (d *desk) enter(platforms []string) *waiter {
	w := &waiter{platforms: platforms, got: make(chan *delivery, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn.ctx.Err() != nil {
		return w
	}
	d.waiting = append(d.waiting, w)
	for _, platform := range platforms {
		p := d.pulls[platform]
		if p == nil {
			p = &pull{}
			d.pulls[platform] = p
		}
		if !p.running {
			p.running, p.asking = true, true
			d.running.Go(func() { d.run(platform, p) })
		}
	}
	d.settle()
	return w
}

// leave takes a waiter out of line. An order that reached it meanwhile goes back.
func (d *desk) leave(w *waiter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = slices.DeleteFunc(d.waiting, func(x *waiter) bool { return x == w })
	select {
	case late := <-w.got:
		d.giveBack(late)
	default:
	}
	d.settle()
}

// wait returns when every pull has ended, or with ctx.
func (d *desk) wait(ctx context.Context) {
	d.mu.Lock()
	d.waiting = nil
	d.settle()
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.running.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// settle hands held orders to waiters and gives back those that nobody wants. A waiter is passed over while one of its
// platforms is being asked: an older order may be there. Callers hold mu.
func (d *desk) settle() {
	d.waiting = slices.DeleteFunc(d.waiting, func(w *waiter) bool {
		oldest := d.oldestFor(w)
		if oldest == nil {
			return false
		}
		w.got <- oldest.held
		oldest.held = nil
		return true
	})
	for platform, p := range d.pulls {
		if p.held != nil && !d.wanted(platform) {
			d.giveBack(p.held)
			p.held = nil
		}
	}
	d.settled.Broadcast()
}

// oldestFor returns the pull that holds the oldest order for w, or nil when w must wait.
func (d *desk) oldestFor(w *waiter) *pull {
	var oldest *pull
	for _, platform := range w.platforms {
		p := d.pulls[platform]
		if p.asking {
			return nil
		}
		if p.held != nil && (oldest == nil || p.held.sequence < oldest.held.sequence) {
			oldest = p
		}
	}
	return oldest
}

func (d *desk) wanted(platform string) bool {
	return slices.ContainsFunc(d.waiting, func(w *waiter) bool { return slices.Contains(w.platforms, platform) })
}

// giveBack lets another worker have the order at once.
func (d *desk) giveBack(x *delivery) {
	if err := x.msg.Nak(); err != nil {
		d.conn.log.Warn("queue: an order could not be given back, it is handed out again later", "job", x.order.JobID, "error", err)
	}
}

// run pulls orders of one platform for as long as somebody waits for it.
func (d *desk) run(platform string, p *pull) {
	failures := 0
	for d.proceed(platform, p) {
		order, err := d.ask(platform, p)
		if err != nil && d.conn.ctx.Err() == nil {
			d.arrive(p, nil)
			failures++
			d.conn.log.Warn("queue: orders cannot be fetched, trying again", "platform", platform, "error", err)
			d.conn.orders.forget(platform)
			_ = pause(d.conn.ctx, min(time.Duration(failures)*100*time.Millisecond, 2*time.Second))
			continue
		}
		failures = 0
		d.arrive(p, order)
	}
}

// proceed waits until the last order is handed out and reports whether another is wanted.
func (d *desk) proceed(platform string, p *pull) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p.held != nil {
		d.settled.Wait()
	}
	p.running = d.wanted(platform) && d.conn.ctx.Err() == nil
	p.asking = p.running
	if !p.running {
		d.settle() // others may have passed a waiter over because of this one
	}
	return p.running
}

// ask returns the platform's next order, waiting for one when none is there, or nil when none came for half a minute.
func (d *desk) ask(platform string, p *pull) (*delivery, error) {
	cons, err := d.conn.orders.consumer(d.conn.ctx, platform)
	if err != nil {
		return nil, err
	}
	batch, err := cons.FetchNoWait(1)
	if err != nil {
		return nil, err
	}
	if order, err := d.first(batch); order != nil || err != nil {
		return order, err
	}
	d.arrive(p, nil)
	batch, err = cons.Fetch(1, jetstream.FetchContext(d.conn.ctx), jetstream.FetchHeartbeat(heartbeat))
	if err != nil {
		return nil, err
	}
	return d.first(batch)
}

// arrive notes the answer of the server: an order, or that none is there.
func (d *desk) arrive(p *pull, order *delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.asking = false
	if order != nil {
		p.held = order
	}
	d.settle()
}

// first reads the batch's only order. One that makes no sense is removed: it would come back for ever.
func (d *desk) first(batch jetstream.MessageBatch) (*delivery, error) {
	for msg := range batch.Messages() {
		order, err := newDelivery(msg)
		if err == nil {
			return order, nil
		}
		d.conn.log.Error("queue: an order cannot be read and is dropped", "subject", msg.Subject(), "error", err)
		_ = msg.Term()
	}
	if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		return nil, err
	}
	return nil, nil
}
