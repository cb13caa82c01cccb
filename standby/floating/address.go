// Package floating lets the role of a process follow the master's floating
// address, which CARP or VRRP moves between hosts: a process whose host gets the
// address is promoted, one whose host loses it is demoted.
//
// The kernel's addresses are looked at, not the messages of the program that
// moves them, so it does not matter which one that is. The address decides who
// should lead; who may, the fence and the checks of a promotion decide as ever.
package floating

import (
	"fmt"
	"net/netip"
	"strings"
)

// Address is one that floats, and the interface that it has to be on.
type Address struct {
	IP   netip.Addr
	Link string // "" is any
}

// List is a set of addresses that move together: they are here when all are. It
// is a flag's value: addresses with commas between them, each IP or
// IP%INTERFACE.
type List []Address

func (a Address) String() string {
	if a.Link == "" {
		return a.IP.String()
	}
	return a.IP.String() + "%" + a.Link
}

func (l *List) String() string {
	var texts []string
	for _, a := range *l {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

// Type is shown in the help text.
func (l *List) Type() string { return "address,..." }

// Set replaces the list.
func (l *List) Set(text string) error {
	var list List
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		ip, link, onLink := strings.Cut(part, "%")
		addr, err := netip.ParseAddr(ip)
		if err != nil || onLink && link == "" {
			return fmt.Errorf("%q is no address: give one like 192.0.2.10, fd00::10 or 192.0.2.10%%eth0", part)
		}
		addr = addr.Unmap()
		if addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() {
			return fmt.Errorf("%s cannot move from one host to another", addr)
		}
		list = append(list, Address{addr, link})
	}
	*l = list
	return nil
}
