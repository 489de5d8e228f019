package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"cardea/internal/view"
)

func (a *app) formatCommand() *cobra.Command {
	return group("format", "How tokens look that were made elsewhere, for import",
		a.formatPut(), a.formatList(), a.namedDel("format", pathFormat))
}

func (a *app) formatPut() *cobra.Command {
	var put view.PutFormat
	var keyFile string
	c := &cobra.Command{
		Use:   "put NAME",
		Short: "Say how tokens look and are hashed that were made elsewhere",
		Example: "  cardea format put legacy --scheme sha256 --prefix sk_live_ --bits 128\n" +
			"  cardea format put portal --scheme bcrypt --prefix pt_ --separator .",
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if put.Key, err = a.secretFile("--key-file", keyFile); err != nil {
				return err
			}
			var f view.Format
			if err := c.call(cmd.Context(), http.MethodPut, at(pathFormat, args[0]), put, &f); err != nil {
				return err
			}
			return a.show(f, func(w io.Writer) error {
				return details(w, "NAME", f.Name, "SCHEME", f.Scheme, "PREFIX", f.Prefix, "PUBLIC PART", publicPart(f), "BITS", fmt.Sprint(f.Bits))
			})
		},
	}
	c.Flags().StringVar(&put.Scheme, "scheme", "", "`SCHEME`: sha256, sha512, hmac-sha256, bcrypt or argon2id")
	c.Flags().StringVar(&put.Prefix, "prefix", "", "`TEXT` that each token begins with")
	c.Flags().IntVar(&put.IDLength, "id-length", 0, "bcrypt and argon2id: `LENGTH` of the public part after the prefix")
	c.Flags().StringVar(&put.Separator, "separator", "", "bcrypt and argon2id: `TEXT` that ends the public part")
	c.Flags().IntVar(&put.Bits, "bits", 0, "`BITS` of entropy that each token has, as you vouch for; 112 at least for sha256, sha512 and hmac-sha256")
	c.Flags().StringVar(&keyFile, "key-file", "", "hmac-sha256: `FILE` with the key of the other system in hex or base64; - is standard input")
	cobra.CheckErr(c.MarkFlagRequired("scheme"))
	return c
}

// publicPart says where a token is found by.
func publicPart(f view.Format) string {
	var parts []string
	if f.IDLength > 0 {
		parts = append(parts, fmt.Sprintf("%d characters", f.IDLength))
	}
	if f.Separator != "" {
		parts = append(parts, "up to "+f.Separator)
	}
	return strings.Join(parts, ", ")
}

func (a *app) formatList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the formats of tokens that were made elsewhere",
		Example: "  cardea format list",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := all[view.Format](cmd.Context(), c, pathFormats, nil)
			if err != nil {
				return err
			}
			return a.show(list, func(w io.Writer) error {
				cells := make([][]string, len(list))
				for i, f := range list {
					cells[i] = []string{f.Name, f.Scheme, f.Prefix, fmt.Sprint(f.Bits), publicPart(f)}
				}
				return table(w, []string{"NAME", "SCHEME", "PREFIX", "BITS", "PUBLIC PART"}, cells)
			})
		},
	}
}
