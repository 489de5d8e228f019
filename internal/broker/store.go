package broker

type (
	store  struct{}
	record struct{}
)

func (st *store) durable() uint64                                                     { return 0 }
func (st *store) failing() bool                                                       { return false }
func (st *store) size() int64                                                         { return 0 }
func (st *store) wait(lsn uint64) error                                               { return nil }
func (st *store) close() error                                                        { return nil }
func (st *store) tell(c *conn)                                                        {}
func (st *store) begin(s *session) uint64                                             { return 0 }
func (st *store) end(s *session) uint64                                               { return 0 }
func (st *store) left(s *session)                                                     {}
func (st *store) done(s *session, e *entry)                                           {}
func (st *store) drop(m *message)                                                     {}
func (st *store) publish(m *message, from *session, id uint16, targets []byte) uint64 { return 0 }
func (st *store) refer(s *session, e *entry)                                          {}
func (st *store) release(s *session, id uint16) uint64                                { return 0 }
func (st *store) receipt(s *session, e *entry) uint64                                 { return 0 }
func (st *store) subscribe(s *session, sub *subscription) uint64                      { return 0 }
func (st *store) unsubscribe(s *session, filter string) uint64                        { return 0 }
func (st *store) unretain(topic []byte) uint64                                        { return 0 }
func appendTarget(dst []byte, s *session, e *entry) []byte                            { return dst }
