package main

import (
	"net"
	"sync"
)

// door is a listener that can be closed and opened again while it is served:
// the stock master that this process hands over to may need its port.
type door struct {
	came chan arrival
	gone chan struct{} // closed by Close

	mu   sync.Mutex // guards what follows
	open net.Listener
	once sync.Once
}

// arrival is a connection, or an error of accepting one.
type arrival struct {
	nc  net.Conn
	err error
}

func newDoor() *door { return &door{came: make(chan arrival), gone: make(chan struct{})} }

// swap accepts from l from now on, nil for nobody, and ends the listener before.
func (d *door) swap(l net.Listener) {
	d.mu.Lock()
	old := d.open
	d.open = l
	d.mu.Unlock()
	if old != nil {
		old.Close()
	}
	if l == nil {
		return
	}
	go func() {
		for {
			nc, err := l.Accept()
			d.mu.Lock()
			over := d.open != l
			d.mu.Unlock()
			if over {
				if err == nil {
					nc.Close()
				}
				return
			}
			select {
			case d.came <- arrival{nc, err}:
			case <-d.gone:
				if err == nil {
					nc.Close()
				}
				return
			}
		}
	}()
}

// Accept waits for a connection, also while the door is closed.
func (d *door) Accept() (net.Conn, error) {
	select {
	case a := <-d.came:
		return a.nc, a.err
	case <-d.gone:
		return nil, net.ErrClosed
	}
}

// Close ends it for good.
func (d *door) Close() error {
	d.once.Do(func() { close(d.gone) })
	d.swap(nil)
	return nil
}

// Addr is where it listens now, nil if it does not.
func (d *door) Addr() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		return nil
	}
	return d.open.Addr()
}
