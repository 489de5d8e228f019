package authority

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"

	"cardea/internal/credential"
)

// Bounds of a picture.
const (
	MaxAvatar     = 256 << 10 // bytes as it is sent
	maxAvatarSide = 2048      // pixels as it is sent
	avatarSide    = 256       // pixels as it is kept
)

// SetAvatar gives an application key a picture, PNG or JPEG. It is decoded and encoded again, at most 256 pixels wide and high, so
// that nothing else that was in the file is ever served. Errors: Invalid, NotFound, Conflict for other kinds or if it has ended, NoRight, Down.
func (a *Authority) SetAvatar(ctx context.Context, c Caller, id string, file []byte) (credential.Credential, error) {
	if _, err := a.credential(ctx, c, "update", id); err != nil {
		return credential.Credential{}, err // before any work is done
	}
	a.drawing.Lock() // one at a time: each may take 50 MiB
	picture, err := readAvatar(file)
	a.drawing.Unlock()
	if err != nil {
		return credential.Credential{}, err
	}
	return a.putAvatar(ctx, c, id, picture)
}

// DeleteAvatar takes the picture away. It is no error if there is none.
func (a *Authority) DeleteAvatar(ctx context.Context, c Caller, id string) error {
	_, err := a.putAvatar(ctx, c, id, nil)
	return err
}

// Avatar returns the picture, a PNG. NotFound.
func (a *Authority) Avatar(ctx context.Context, c Caller, id string) ([]byte, error) {
	rec, err := a.credential(ctx, c, "read", id)
	if err != nil {
		return nil, err
	}
	if rec.Credential.Avatar == "" {
		return nil, notFound("picture of credential", id)
	}
	return a.store.Avatar(ctx, id)
}

func (a *Authority) putAvatar(ctx context.Context, c Caller, id string, picture []byte) (credential.Credential, error) {
	return retry(0, func() (credential.Credential, error) {
		rec, err := a.credential(ctx, c, "update", id)
		if err != nil {
			return credential.Credential{}, err
		}
		old := rec.Credential
		if err := onlyAppKey(&old); err != nil {
			return old, err
		}
		if old.State.Ended() {
			return old, ended(&old)
		}
		now := old
		if now.Avatar = ""; len(picture) > 0 {
			sum := sha256.Sum256(picture)
			now.Avatar = hex.EncodeToString(sum[:])
		}
		d := details{}
		if d.set("avatar", old.Avatar, now.Avatar); len(d) == 0 {
			return old, nil
		}
		ch := a.begin(c)
		ch.do(credential.UpdateCredential{Credential: now}, "credential.update", aboutCredential(id, rec.Principal.Name), d)
		ch.also(credential.PutAvatar{Credential: id, PNG: picture})
		if err := a.commit(ctx, ch); err != nil {
			return old, err
		}
		now.Version++
		return now, nil
	})
}

// readAvatar makes the picture that is kept of a file. The size that the file says it has is looked at before any of it is decoded.
func readAvatar(file []byte) ([]byte, error) {
	var p credential.Problems
	config, decode := png.DecodeConfig, png.Decode
	switch {
	case len(file) > MaxAvatar:
		p.Add("avatar", "is larger than %d KiB", MaxAvatar>>10)
		return nil, p.Err()
	case bytes.HasPrefix(file, []byte("\x89PNG\r\n\x1a\n")):
	case bytes.HasPrefix(file, []byte("\xff\xd8\xff")):
		config, decode = jpeg.DecodeConfig, jpeg.Decode
	default:
		p.Add("avatar", "is neither PNG nor JPEG")
		return nil, p.Err()
	}
	switch size, err := config(bytes.NewReader(file)); {
	case err != nil:
		p.Add("avatar", "cannot be read")
	case size.Width < 1 || size.Height < 1 || size.Width > maxAvatarSide || size.Height > maxAvatarSide:
		p.Add("avatar", "has %d x %d pixels: at most %d x %d are possible", size.Width, size.Height, maxAvatarSide, maxAvatarSide)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	picture, err := decode(bytes.NewReader(file))
	if err != nil {
		p.Add("avatar", "cannot be read to its end")
		return nil, p.Err()
	}
	var out bytes.Buffer
	if err := png.Encode(&out, shrink(picture, avatarSide)); err != nil {
		return nil, &credential.Error{Kind: credential.Internal, Err: err}
	}
	return out.Bytes(), nil
}

// shrink returns a picture that is at most so many pixels wide and high, with the proportions of the old one. Each of its pixels
// is the mean of those that it stands for. A small picture keeps its size.
func shrink(from image.Image, side int) *image.NRGBA {
	b := from.Bounds()
	w, h := b.Dx(), b.Dy()
	if long := max(w, h); long > side {
		w, h = max(1, w*side/long), max(1, h*side/long)
	}
	to := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			box := image.Rect(x*b.Dx()/w, y*b.Dy()/h, (x+1)*b.Dx()/w, (y+1)*b.Dy()/h).Add(b.Min)
			to.Set(x, y, mean(from, box))
		}
	}
	return to
}

// mean is that of all pixels of a box. Colours are multiplied with alpha as they are added up, so that what cannot be seen adds no colour.
func mean(from image.Image, box image.Rectangle) color.Color {
	var r, g, b, a, n uint64
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			pr, pg, pb, pa := from.At(x, y).RGBA()
			r, g, b, a, n = r+uint64(pr), g+uint64(pg), b+uint64(pb), a+uint64(pa), n+1
		}
	}
	return color.RGBA64{R: uint16(r / n), G: uint16(g / n), B: uint16(b / n), A: uint16(a / n)}
}
