package api

import (
	"context"
	"net/http"

	"cardea/internal/authority"
)

type avatarIn struct {
	IDIn
	RawBody []byte `contentType:"image/png" doc:"PNG or JPEG, at most 2048 x 2048 pixels"`
}

// avatarOut is a picture. That nobody takes it for anything else is in the headers of every answer.
type avatarOut struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *server) avatars() {
	auth := s.api.Authority
	handle(s, op{
		id: "putAvatar", method: http.MethodPut, path: "/credentials/{id}/avatar", summary: "Give an application key a picture, PNG or JPEG of at most 256 KiB; it is kept as a PNG of at most 256 x 256 pixels",
		right: "credentials:update on /credentials/PRINCIPAL", status: http.StatusNoContent, maxBody: authority.MaxAvatar, bodies: []string{"image/jpeg"},
	}, func(ctx context.Context, c *caller, in *avatarIn) (*empty, error) {
		_, err := auth.SetAvatar(ctx, c.Caller, in.ID, in.RawBody)
		return nil, err
	})
	handle(s, op{
		id: "getAvatar", method: http.MethodGet, path: "/credentials/{id}/avatar", summary: "The picture of an application key, as PNG",
		right: "credentials:read on /credentials/PRINCIPAL", answers: "image/png",
	}, func(ctx context.Context, c *caller, in *IDIn) (*avatarOut, error) {
		picture, err := auth.Avatar(ctx, c.Caller, in.ID)
		return &avatarOut{"image/png", picture}, err
	})
	handle(s, op{
		id: "deleteAvatar", method: http.MethodDelete, path: "/credentials/{id}/avatar", summary: "Take the picture of an application key away",
		right: "credentials:update on /credentials/PRINCIPAL", status: http.StatusNoContent,
	}, func(ctx context.Context, c *caller, in *IDIn) (*empty, error) {
		return nil, auth.DeleteAvatar(ctx, c.Caller, in.ID)
	})
}
