// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"net/netip"
	"testing"
)

// Which addresses are spoken to: it is where a tenant could lead the operator that counts.
func TestAddresses(t *testing.T) {
	const (
		never    = "never"
		loopback = "if loopback is allowed"
		always   = "always"
	)
	for address, want := range map[string]string{
		"127.0.0.1": loopback, "127.0.0.53": loopback, "127.255.255.254": loopback, "::1": loopback,
		"::ffff:127.0.0.1": loopback, "::ffff:7f00:1": loopback, "64:ff9b::127.0.0.1": loopback, "64:ff9b::7f00:1": loopback,

		"0.0.0.0": never, "::": never, "::ffff:0.0.0.0": never, "64:ff9b::": never,
		"169.254.169.254": never, "169.254.0.1": never, "169.254.255.255": never, "169.254.170.2": never, "169.254.170.23": never,
		"::ffff:169.254.169.254": never, "::ffff:a9fe:a9fe": never, "64:ff9b::169.254.169.254": never, "64:ff9b::a9fe:a9fe": never,
		"fe80::1": never, "fe80::1%eth0": never, "fe80::a9fe:a9fe%1": never, "febf:ffff::1": never,
		"::ffff:169.254.169.254%eth0": never,
		"224.0.0.1":                   never, "239.255.255.255": never, "::ffff:224.0.0.1": never, "64:ff9b::224.0.0.1": never,
		"ff02::1": never, "ff02::1%eth0": never, "ff0e::1": never, "ff01::1": never,
		"255.255.255.255": never, "::ffff:255.255.255.255": never, "64:ff9b::255.255.255.255": never,
		"168.63.129.16": never, "192.0.0.192": never, "100.100.100.200": never, "::ffff:100.100.100.200": never, "64:ff9b::168.63.129.16": never,
		"fd00:ec2::254": never, "fd00:ec2::23": never, "fd20:ce::254": never, "fd00:c1::a9fe:a9fe": never, "fd00:100::100:200": never,
		"fd00:42::42": never, "fd00:a9fe:a9fe::1": never, "fd00:ec2::254%eth0": never,

		"10.0.0.1": always, "10.96.0.1": always, "172.16.0.1": always, "172.31.255.255": always, "192.168.1.1": always,
		"100.64.0.1": always, "fd00::1": always, "fc00::1": always, "::ffff:10.0.0.1": always, "64:ff9b::10.0.0.1": always,
		"8.8.8.8": always, "2606:4700::1111": always, "64:ff9b::808:808": always,
		"126.255.255.255": always, "128.0.0.1": always, "169.253.255.255": always, "169.255.0.0": always, "223.255.255.255": always,
		"::2": always, "fec0::1": always, "168.63.129.17": always, "100.100.100.201": always, "192.0.0.193": always,
		"fd00:ec2::255": always, "64:ff9b:1::a00:1": never, "::ffff:0:a00:1": never,
	} {
		parsed := netip.MustParseAddr(address)
		for _, allow := range []bool{false, true} {
			network := Network{AllowLoopback: allow}
			allowed := want == always || want == loopback && allow
			if got := network.allows(parsed); got != allowed {
				t.Errorf("%s is spoken to: %t, not %s; loopback is allowed: %t", address, got, want, allow)
			}
			err := network.control(t.Context(), "tcp", netip.AddrPortFrom(parsed, 4006).String(), nil)
			if (err == nil) != allowed {
				t.Errorf("%s is dialled with %v; it is %s; loopback is allowed: %t", address, err, want, allow)
			}
		}
	}
	for _, address := range []string{"", "localhost:80", "10.0.0.1", "10.0.0.1:http", "/run/reporter.sock"} {
		if err := (&Network{AllowLoopback: true}).control(t.Context(), "tcp", address, nil); err == nil {
			t.Errorf("%q, which is no address, is dialled", address)
		}
	}
}
