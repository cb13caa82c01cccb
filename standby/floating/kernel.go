package floating

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// kernel tells which addresses this host has. What the kernel announces is only
// a reason to look: so a message that got lost, or was cut off by the end of a
// socket, costs a second and never a wrong view.
type kernel struct {
	ns     netns.NsHandle // netns.None() is that of the process
	buffer int            // of the socket, bytes; 0 is the kernel's choice
}

// look tells whether all addresses can be used here, and if not, why.
func (k kernel) look(list List) (here bool, why string, err error) {
	h, err := netlink.NewHandleAt(k.ns, unix.NETLINK_ROUTE)
	if err != nil {
		return false, "", fmt.Errorf("asking the kernel for its addresses: %w", err)
	}
	defer h.Close()
	found, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return false, "", fmt.Errorf("asking the kernel for its addresses: %w", err)
	}
	var missing []string
	for _, want := range list {
		why := "is on another host, or on none"
		for _, a := range found {
			if ip, ok := netip.AddrFromSlice(a.IP); !ok || ip.Unmap() != want.IP {
				continue
			}
			if why = unusable(h, &a, want.Link); why == "" {
				break
			}
		}
		if why != "" {
			missing = append(missing, want.String()+" "+why)
		}
	}
	return len(missing) == 0, strings.Join(missing, ", "), nil
}

// unusable says why an address that the host has cannot be used, "" if it can.
func unusable(h *netlink.Handle, a *netlink.Addr, wantLink string) string {
	switch {
	case a.Flags&unix.IFA_F_DADFAILED != 0:
		return "is in use by another host"
	case a.Flags&unix.IFA_F_TENTATIVE != 0:
		return "is not known yet to be unique"
	}
	link, err := h.LinkByIndex(a.LinkIndex)
	if err != nil {
		return "is on an interface that is gone"
	}
	at := link.Attrs()
	switch {
	case wantLink != "" && at.Name != wantLink:
		return "is on interface " + at.Name
	case at.RawFlags&unix.IFF_UP == 0:
		return "is on interface " + at.Name + ", which is down"
	case at.RawFlags&unix.IFF_LOWER_UP == 0:
		return "is on interface " + at.Name + ", which has no carrier"
	}
	return ""
}

// watch sends to changed when addresses or interfaces may have changed, until
// ctx ends. A socket that fails (with ENOBUFS where it was too small) is opened
// anew, and that is a change too.
func (k kernel) watch(ctx context.Context, changed chan<- struct{}) error {
	for ctx.Err() == nil {
		s, err := nl.SubscribeAt(k.ns, netns.None(), unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
		if err != nil {
			return fmt.Errorf("asking the kernel to tell of its addresses: %w", err)
		}
		if k.buffer != 0 {
			if err := s.SetReceiveBufferSize(k.buffer, false); err != nil {
				return err
			}
		}
		stop := context.AfterFunc(ctx, s.Close)
		for {
			select {
			case changed <- struct{}{}:
			default: // it will look
			}
			if _, _, err = s.Receive(); err != nil {
				break
			}
		}
		if stop() {
			s.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(reopenAfter): // not faster, should it fail at once
		}
	}
	return nil
}

// reopenAfter is how soon a socket that failed is opened anew.
const reopenAfter = 100 * time.Millisecond
