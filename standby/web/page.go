package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// The status page is plain files: what is in the directory page is what the
// browser gets.
//
//go:embed page
var embedded embed.FS

// pageFiles are the page's files by the path they are served at. They hold
// nothing of the cluster, so they need no token: the page asks for it.
func pageFiles() map[string]http.HandlerFunc {
	kinds := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
		".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}
	list, err := embedded.ReadDir("page")
	if err != nil {
		panic(err) // it is part of the program
	}
	files := map[string]http.HandlerFunc{}
	for _, f := range list {
		content, err := embedded.ReadFile("page/" + f.Name())
		if err != nil {
			panic(err)
		}
		path := "/" + f.Name()
		if f.Name() == "index.html" {
			path = "/{$}"
		}
		files[path] = file(content, kinds[f.Name()[strings.LastIndexByte(f.Name(), '.'):]])
	}
	return files
}

// file serves a file that the browser asks for anew each time, cheaply.
func file(content []byte, kind string) http.HandlerFunc {
	sum := sha256.Sum256(content)
	tag := fmt.Sprintf("%q", base64.RawURLEncoding.EncodeToString(sum[:12]))
	return func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Type", kind)
		head.Set("Cache-Control", "no-cache")
		head.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		head.Set("Content-Length", fmt.Sprint(len(content)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(content) // whoever left does not miss it
		}
	}
}
