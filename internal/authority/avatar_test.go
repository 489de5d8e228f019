package authority

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"cardea/internal/credential"
)

// picture is one of a colour, in a format.
func picture(t testing.TB, format string, w, h int, c color.Color) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	if format == "jpeg" {
		b.Reset()
		err = jpeg.Encode(&b, img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// claims is a PNG whose head says that it has these sides, with nothing behind it.
func claims(w, h uint32) []byte {
	head := make([]byte, 17)
	copy(head, "IHDR")
	binary.BigEndian.PutUint32(head[4:], w)
	binary.BigEndian.PutUint32(head[8:], h)
	head[12], head[13] = 8, 6
	out := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), head...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(head))
}

// A picture is kept as a small PNG of its own, whatever came with the file.
func TestAvatar(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	id := h.keyOf("alice", "a").Credential.ID
	red := color.NRGBA{R: 255, A: 255}
	for what, c := range map[string]struct {
		file []byte
		w, h int
	}{
		"png":    {picture(t, "png", 64, 48, red), 64, 48},
		"jpeg":   {picture(t, "jpeg", 300, 200, red), 256, 170},
		"large":  {picture(t, "png", 2048, 2048, red), 256, 256},
		"narrow": {picture(t, "png", 1, 2048, red), 1, 256},
		"pixel":  {picture(t, "png", 1, 1, red), 1, 1},
		"extra":  {append(picture(t, "png", 8, 8, red), "<script>alert(1)</script>"...), 8, 8},
	} {
		t.Run(what, func(t *testing.T) {
			before := h.head()
			now, err := h.SetAvatar(ctx, h.local, id, c.file)
			h.must(err)
			kept, err := h.Avatar(ctx, h.local, id)
			h.must(err)
			sum := sha256.Sum256(kept)
			if now.Avatar != hex.EncodeToString(sum[:]) || types(h.events(before)) != "credential.update" {
				t.Errorf("avatar %q, events %s", now.Avatar, types(h.events(before)))
			}
			img, err := png.Decode(bytes.NewReader(kept))
			h.must(err)
			if b := img.Bounds(); b.Dx() != c.w || b.Dy() != c.h {
				t.Errorf("%d x %d pixels are kept, want %d x %d", b.Dx(), b.Dy(), c.w, c.h)
			}
			if r, g, b, a := img.At(0, 0).RGBA(); r < 0xf000 || g > 0x800 || b > 0x800 || a != 0xffff {
				t.Errorf("colour %x %x %x %x", r, g, b, a)
			}
			if bytes.Contains(kept, []byte("script")) {
				t.Error("what came behind the picture is kept")
			}
		})
	}
	before := h.head()
	_, err := h.SetAvatar(ctx, h.local, id, picture(t, "png", 8, 8, red))
	h.must(err)
	_, err = h.SetAvatar(ctx, h.local, id, picture(t, "png", 8, 8, red))
	h.must(err)
	h.must(h.DeleteAvatar(ctx, h.local, id))
	h.must(h.DeleteAvatar(ctx, h.local, id))
	if n := len(h.events(before)); n > 2 {
		t.Errorf("%d events", n)
	}
	_, err = h.Avatar(ctx, h.local, id)
	fails(t, err, credential.NotFound)
	_, err = h.store.Avatar(ctx, id)
	fails(t, err, credential.NotFound)
}

// What is no picture, or more of one than is good, is refused before it is decoded.
func TestAvatarsThatAreRefused(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	id := h.keyOf("alice", "a").Credential.ID
	good := picture(t, "png", 32, 32, color.Black)
	for what, c := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":   {nil, "neither PNG nor JPEG"},
		"a GIF":     {[]byte("GIF89a\x01\x00\x01\x00"), "neither PNG nor JPEG"},
		"SVG":       {[]byte("<svg/>"), "neither PNG nor JPEG"},
		"too large": {append(good, make([]byte, MaxAvatar)...), "larger than 256 KiB"},
		"a bomb":    {claims(1<<16, 1<<16), "65536 x 65536 pixels"},
		"too wide":  {claims(2049, 1), "2049 x 1 pixels"},
		"cut":       {good[:len(good)-20], "cannot be read to its end"},
		"only head": {claims(32, 32), "cannot be read to its end"},
		"no size":   {claims(0, 0), "cannot be read"},
		"bad jpeg":  {[]byte("\xff\xd8\xff\xe0"), "cannot be read"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := h.SetAvatar(ctx, h.local, id, c.file)
			fails(t, err, credential.Invalid, "avatar", c.want)
		})
	}
	h.principal(credential.Service, "svc")
	_, err := h.SetAvatar(ctx, h.local, h.apiKey("svc").Credential.ID, good)
	fails(t, err, credential.Conflict, "no application key")
	_, err = h.SetAvatar(ctx, h.caller("api:credentials:read /credentials/alice"), id, []byte("x"))
	fails(t, err, credential.NoRight, "credentials:update")
	_, err = h.SetAvatar(ctx, h.local, id, good)
	h.must(err)
	_, err = h.Avatar(ctx, h.caller("api:credentials:read /credentials/bob"), id)
	fails(t, err, credential.NotFound)
	h.must(h.DeleteCredential(ctx, h.local, id, ""))
	if strings.Contains(h.dump(), `"table":"avatars"`) {
		t.Error("the picture of a deleted key is kept")
	}
}

// What cannot be seen adds no colour, and a mean is one.
func TestShrink(t *testing.T) {
	img := image.NewNRGBA(image.Rect(5, 5, 517, 7)) // not at the origin
	for x := 5; x < 517; x++ {
		img.Set(x, 5, color.NRGBA{R: 200, A: 255})
		img.Set(x, 6, color.NRGBA{R: 100, B: 50, A: 255})
	}
	small := shrink(img, 256)
	if b := small.Bounds(); b.Dx() != 256 || b.Dy() != 1 {
		t.Fatalf("%v", b)
	}
	if c := small.NRGBAAt(100, 0); c != (color.NRGBA{R: 150, B: 25, A: 255}) {
		t.Errorf("the mean is %v", c)
	}
	half := image.NewNRGBA(image.Rect(0, 0, 512, 2))
	for x := range 512 {
		half.Set(x, 0, color.NRGBA{R: 200, A: 255})
		half.Set(x, 1, color.NRGBA{G: 255})
	}
	if c := shrink(half, 256).NRGBAAt(0, 0); c.G != 0 || c.R < 198 || c.A < 126 || c.A > 128 {
		t.Errorf("half seen: %v", c)
	}
}

// Whatever comes: no panic, and what is kept is a small PNG.
func FuzzAvatar(f *testing.F) {
	for _, format := range []string{"png", "jpeg"} {
		f.Add(picture(f, format, 3, 5, color.NRGBA{R: 9, G: 8, B: 7, A: 100}))
	}
	f.Add(claims(2048, 2048))
	f.Fuzz(func(t *testing.T, file []byte) {
		kept, err := readAvatar(file)
		if err != nil {
			fails(t, err, credential.Invalid)
			return
		}
		size, err := png.DecodeConfig(bytes.NewReader(kept))
		if err != nil || size.Width > avatarSide || size.Height > avatarSide || size.Width < 1 || size.Height < 1 {
			t.Errorf("kept %v, %v", size, err)
		}
	})
}
