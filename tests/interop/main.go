// Members of the kind that upstream's speakers are, for tests of ours against them.
//
//	interop member --name g1 --bind 127.0.0.2:7946 [--key HEX] [--profile lan|wan|local|quick]
//	interop record
//
// A member prints "members a,b,c" whenever that changes, and obeys lines on its standard input: "join IP:PORT", "leave". It
// logs to its standard error.
//
// The recordings in dataplane/members were made where nobody else uses 127.0.0.41 to 127.0.0.44:
//
//	go run . record | sort -u
package main

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "record" {
		record()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "member" {
		member(os.Args[2:])
		return
	}
	fmt.Fprintln(os.Stderr, "interop member|record")
	os.Exit(2)
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func profile(name string) *memberlist.Config {
	switch name {
	case "wan":
		return memberlist.DefaultWANConfig()
	case "local":
		return memberlist.DefaultLocalConfig()
	case "quick":
		// As LAN, twice as fast.
		config := memberlist.DefaultLANConfig()
		config.ProbeInterval, config.ProbeTimeout = 500*time.Millisecond, 250*time.Millisecond
		config.GossipInterval = 100 * time.Millisecond
		return config
	default:
		return memberlist.DefaultLANConfig()
	}
}

func member(args []string) {
	flags := flag.NewFlagSet("member", flag.ExitOnError)
	name := flags.String("name", "", "node name")
	bind := flags.String("bind", "", "address and port")
	key := flags.String("key", "", "AES key, hexadecimal")
	timing := flags.String("profile", "lan", "lan, wan, local or quick")
	fatal(flags.Parse(args))

	host, port, err := net.SplitHostPort(*bind)
	fatal(err)
	config := profile(*timing)
	config.Name = *name
	config.BindAddr = host
	config.BindPort, err = strconv.Atoi(port)
	fatal(err)
	config.AdvertisePort = config.BindPort
	config.SecretKey, err = hex.DecodeString(*key)
	fatal(err)
	watch := &watcher{present: map[string]bool{}}
	config.Events = watch
	config.Transport, err = newTransport(config, nil)
	fatal(err)
	list, err := memberlist.Create(config)
	fatal(err)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command, argument, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "join":
			if _, err := list.Join([]string{argument}); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		case "leave":
			fatal(list.Leave(2 * time.Second))
			fatal(list.Shutdown())
			return
		}
	}
}

// watcher prints the members whenever they change.
type watcher struct {
	mutex   sync.Mutex
	present map[string]bool
}

func (w *watcher) set(name string, present bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if present {
		w.present[name] = true
	} else {
		delete(w.present, name)
	}
	names := make([]string, 0, len(w.present))
	for name := range w.present {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Println("members " + strings.Join(names, ","))
}

func (w *watcher) NotifyJoin(node *memberlist.Node)  { w.set(node.Name, true) }
func (w *watcher) NotifyLeave(node *memberlist.Node) { w.set(node.Name, false) }

// NotifyUpdate: only the metadata have changed.
func (w *watcher) NotifyUpdate(*memberlist.Node) {}

// transport dials from the member's own address, so that a test can part members by their addresses, and may record.
type transport struct {
	*memberlist.NetTransport
	source *net.TCPAddr
	saw    func(kind string, bytes []byte)
}

func newTransport(config *memberlist.Config, saw func(string, []byte)) (*transport, error) {
	inner, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{config.BindAddr},
		BindPort:  config.BindPort,
		Logger:    config.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &transport{inner, &net.TCPAddr{IP: net.ParseIP(config.BindAddr)}, saw}, nil
}

func (t *transport) WriteToAddress(bytes []byte, to memberlist.Address) (time.Time, error) {
	if t.saw != nil {
		t.saw("packet", bytes)
	}
	return t.NetTransport.WriteToAddress(bytes, to)
}

func (t *transport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout, LocalAddr: t.source}
	conn, err := dialer.Dial("tcp", to.Addr)
	if err != nil || t.saw == nil {
		return conn, err
	}
	return &recorded{conn, t.saw}, nil
}

// recorded shows what is written to a stream.
type recorded struct {
	net.Conn
	saw func(kind string, bytes []byte)
}

func (r *recorded) Write(bytes []byte) (int, error) {
	r.saw("stream", bytes)
	return r.Conn.Write(bytes)
}

// record prints what four members say to each other while one joins, one leaves and one crashes: the mode, packet or
// stream, and the bytes. Each first byte is printed some times at most.
func record() {
	for _, mode := range []string{"plain", "compressed", "encrypted"} {
		recordMode(mode)
	}
}

func recordMode(mode string) {
	var mutex sync.Mutex
	seen := map[string]int{}
	saw := func(kind string, bytes []byte) {
		mutex.Lock()
		defer mutex.Unlock()
		first := fmt.Sprint(kind, bytes[0])
		if seen[first] < 4 {
			seen[first]++
			fmt.Println(mode, kind, hex.EncodeToString(bytes))
		}
	}
	lists := make([]*memberlist.Memberlist, 4)
	for i := range lists {
		config := memberlist.DefaultLocalConfig()
		config.Name = fmt.Sprintf("node-%d", i)
		config.BindAddr = fmt.Sprintf("127.0.0.%d", 41+i)
		config.BindPort, config.AdvertisePort = 7946, 7946
		config.IndirectChecks = 3
		config.ProbeInterval, config.ProbeTimeout = 500*time.Millisecond, 100*time.Millisecond
		config.EnableCompression = mode != "plain"
		if mode == "encrypted" {
			config.SecretKey = []byte("0123456789abcdefghijklmnopqrstuv")
		}
		config.LogOutput = io.Discard
		var err error
		config.Transport, err = newTransport(config, saw)
		fatal(err)
		lists[i], err = memberlist.Create(config)
		fatal(err)
		if i > 0 {
			_, err = lists[i].Join([]string{"127.0.0.41:7946"})
			fatal(err)
		}
	}
	time.Sleep(time.Second)
	fatal(lists[3].Leave(time.Second))
	fatal(lists[3].Shutdown())
	fatal(lists[2].Shutdown())
	time.Sleep(5 * time.Second)
	fatal(lists[1].Shutdown())
	fatal(lists[0].Shutdown())
}
