// Package intake is what doors do with connections before they know who is
// there: it accepts them, gives each source its share of seats, remembers who
// failed too often, learns from a proxy whose connection it is, and says what a client's certificate is. It knows no
// protocol but that of PROXY headers, and no credential.
//
//	err := intake.Loop(ctx, ln, log, func(c net.Conn) {
//		addr := intake.AddrOf(c.RemoteAddr())
//		if failures.Blocked(addr) || !seats.Take(addr, false) {
//			if n, tell := refused.Sample(intake.Source(addr)); tell {
//				log.Warn("connection refused", "source", addr, "similar", n)
//			}
//			c.Close()
//			return
//		}
//		go func() {
//			defer seats.Leave(addr)
//			if !serve(c) {
//				failures.Note(addr)
//			}
//		}()
//	})
//
// What counts as one source is said by [Source], for all of them alike.
package intake
