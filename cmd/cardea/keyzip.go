package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// zipFolder writes the keys of a folder and the results to a new zip file, with the modes that files have. Nothing is overwritten, and of
// a file that could not be written to its end nothing is left.
func zipFolder(dir, path string) error {
	files := keyFiles{{path: path, mode: 0o600}}
	if err := files.reserve(); err != nil {
		return err
	}
	z := zip.NewWriter(files[0].file)
	err := addFolders(z, dir)
	if err == nil {
		err = addFile(z, dir, resultsFile)
	}
	if err = errors.Join(err, z.Close()); err == nil {
		err = files.fill("") // nothing more, durably
	}
	if err != nil {
		files.discard()
		return fmt.Errorf("%s could not be written: %w", path, err)
	}
	return nil
}

// addFolders adds what is in the folders of devices, some at a time.
func addFolders(z *zip.Writer, dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(1000)
		for _, e := range entries {
			if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			for _, name := range []string{"cert.pem", "key.pem", "token"} {
				if err := addFile(z, dir, e.Name()+"/"+name); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func addFile(z *zip.Writer, dir, name string) error {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	head := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: info.ModTime().UTC().Truncate(time.Second)}
	head.SetMode(info.Mode())
	w, err := z.CreateHeader(head)
	if err == nil {
		_, err = io.Copy(w, f)
	}
	return err
}
