package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// The store is a series of segments, files of records that are only appended
// to. A segment begins with a header:
//
//	16 bytes  what it is, and the version of the format
//	 4 bytes  the mark of its records: a random number, so that nothing which a client sends can look like a record
//	 8 bytes  zero
//	 4 bytes  CRC-32C of the above
//
// Each record is
//
//	4 bytes  the mark
//	4 bytes  length of the body
//	4 bytes  CRC-32C of the length and the body
//	body     its type and what belongs to that: see records.go
//
// Numbers are little-endian. Space behind the records is zero: it is
// taken in advance, because to sync what lies within a file costs the disk less than to sync a file that grows.
const (
	headerSize = 32
	frameSize  = 12
	magic      = "cardea broker 1\n"
	maxRecord  = 1 << 30
	ahead      = 1 << 20 // bytes of space that are taken at a time
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is the one that is being written.
type segment struct {
	number uint64
	file   file
	size   int64 // of header and records that are written
	space  int64 // of the file
}

func segmentName(n uint64) string { return fmt.Sprintf("%016x.log", n) }

func segmentNumber(name string) (n uint64, ok bool) {
	hex, ok := strings.CutSuffix(name, ".log")
	if !ok || len(hex) != 16 {
		return 0, false
	}
	_, err := fmt.Sscanf(hex, "%016x", &n)
	return n, err == nil && segmentName(n) == name
}

func appendHeader(dst []byte, mark uint32) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, mark)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// createSegment makes a segment that is there after a crash.
func createSegment(d disk, number uint64, mark uint32) (*segment, error) {
	name := segmentName(number)
	f, err := d.create(name)
	if err != nil {
		return nil, err
	}
	s := &segment{number: number, file: f}
	err = s.write(appendHeader(nil, mark))
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), d.remove(name))
	}
	return s, nil
}

// write appends to the segment and syncs it. After an error what it was to write is not in the segment, unless the disk does not even
// let it be cut off again.
func (s *segment) write(b []byte) error {
	err := s.extend(b)
	if err != nil {
		if s.file.Truncate(s.size) == nil {
			s.space = s.size
			s.file.Sync()
		}
		return err
	}
	s.size += int64(len(b))
	return nil
}

// extend writes b behind what is there, with new space if there is not enough.
func (s *segment) extend(b []byte) error {
	if _, err := s.file.WriteAt(b, s.size); err != nil {
		return err
	}
	if end := s.size + int64(len(b)); end > s.space {
		if _, err := s.file.WriteAt(zeros[:], end); err != nil {
			return err
		}
		s.space = end + int64(len(zeros))
	}
	return s.file.Sync()
}

var zeros [ahead]byte

// close gives back the space that is not used.
func (s *segment) close() error {
	return errors.Join(s.file.Truncate(s.size), s.file.Sync(), s.file.Close())
}

// frame writes the frame of a record whose body is b[frameSize:].
func frameRecord(b []byte, mark uint32) {
	binary.LittleEndian.PutUint32(b, mark)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameSize))
	binary.LittleEndian.PutUint32(b[8:], recordSum(b))
}

func recordSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[4:8], castagnoli), castagnoli, b[frameSize:])
}

// scanned is what a segment holds.
type scanned struct {
	end     int64 // behind the last record
	torn    bool  // something that was never synced was cut off behind it
	damaged int   // places at which something was not readable that was synced
}

// scan calls record with the body of each record of a segment. last says that it is the last one: only there may the end be torn.
func scan(b []byte, last bool, record func(body []byte) error) (s scanned, err error) {
	mark, ok := readMark(b)
	if !ok {
		s.torn = last && (len(b) < headerSize || allZero(b[headerSize:])) // it was being made
		if !s.torn {
			s.damaged++
		}
		return s, nil
	}
	at := headerSize
	s.end = headerSize
	for at < len(b) {
		body, size := recordAt(b[at:], mark)
		if size > 0 {
			if err := record(body); err != nil {
				return s, err
			}
			at += size
			s.end = int64(at)
			continue
		}
		if allZero(b[at:]) {
			return s, nil
		}
		next := findRecord(b, at+1, mark)
		// A crash can leave the end of what was being written without its beginning.
		if last && !syncedBehind(b, next, mark, at) {
			s.torn = true
			return s, nil
		}
		s.damaged++
		if next < 0 {
			return s, nil
		}
		at = next
	}
	return s, nil
}

// readMark returns the mark of a segment, also if the header is damaged and the first record is not.
func readMark(b []byte) (mark uint32, ok bool) {
	if len(b) < headerSize {
		return 0, false
	}
	sum := binary.LittleEndian.Uint32(b[headerSize-4:])
	if string(b[:len(magic)]) == magic && crc32.Checksum(b[:headerSize-4], castagnoli) == sum {
		return binary.LittleEndian.Uint32(b[len(magic):]), true
	}
	if len(b) < headerSize+frameSize {
		return 0, false
	}
	mark = binary.LittleEndian.Uint32(b[headerSize:])
	_, size := recordAt(b[headerSize:], mark)
	return mark, size > 0
}

// recordAt returns the body of the record at the beginning of b and its length with the frame, 0 if there is no valid one.
func recordAt(b []byte, mark uint32) (body []byte, size int) {
	if len(b) < frameSize+1 || binary.LittleEndian.Uint32(b) != mark {
		return nil, 0
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	if n == 0 || n > maxRecord || n > int64(len(b)-frameSize) {
		return nil, 0
	}
	size = frameSize + int(n)
	if recordSum(b[:size]) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, 0
	}
	return b[frameSize:size], size
}

// findRecord returns the offset of the first valid record at or behind an offset, -1 if there is none.
func findRecord(b []byte, at int, mark uint32) int {
	sign := binary.LittleEndian.AppendUint32(nil, mark)
	for at < len(b) {
		i := bytes.Index(b[at:], sign)
		if i < 0 {
			return -1
		}
		at += i
		if _, size := recordAt(b[at:], mark); size > 0 {
			return at
		}
		at++
	}
	return -1
}

// syncedBehind reports whether a record at or behind next says that offset at was on disk when it was written.
func syncedBehind(b []byte, next int, mark uint32, at int) bool {
	for next >= 0 {
		body, size := recordAt(b[next:], mark)
		if size == 0 {
			next = findRecord(b, next+1, mark)
			continue
		}
		if n, ok := readSynced(body); ok && n > int64(at) {
			return true
		}
		next += size
	}
	return false
}

func allZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}
