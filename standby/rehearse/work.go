package rehearse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"mfsstandby/changelog"
	"mfsstandby/changelog/meta"
	"mfsstandby/replicator/wire"
	"mfsstandby/standby"
	"mfsstandby/standby/image"
	"mfsstandby/standby/leader"
	"mfsstandby/standby/metafile"
	"mfsstandby/standby/promote"
	"mfsstandby/standby/replay"
	"mfsstandby/standby/stock"
	"mfsstandby/standby/verify"
)

// exports let this host read everything.
const exports = "127.0.0.1 / ro,maproot=0:0\n"

// work is one rehearsal.
type work struct {
	*Rehearser
	report func(promote.Step)
	res    Result

	program string
	files   *stock.Private
	view    *image.View
	child   *stock.Child
}

// step does something and reports it.
func (w *work) step(name string, do func() (string, error)) error {
	start := time.Now()
	text, err := do()
	s := promote.Step{Name: name, Text: text, Ms: ms(time.Since(start))}
	if err != nil {
		s.Error = err.Error()
		err = fmt.Errorf("%s: %w", name, err)
	}
	w.res.Steps = append(w.res.Steps, s)
	if w.report != nil {
		w.report(s)
	}
	return err
}

// run does all steps, and leaves nothing behind.
func (w *work) run(ctx context.Context) (err error) {
	defer func() {
		if w.child != nil {
			w.child.Kill()
		}
		if w.view != nil {
			w.view.Close()
		}
		err = errors.Join(err, w.clean())
	}()
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{{"prepare", w.prepare}, {"export", w.export}, {"start", w.start}, {"tree", w.tree}, {"stop", w.stop}, {"compare", w.compare}} {
		if err := w.step(s.name, func() (string, error) { return s.do(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) prepare(context.Context) (text string, err error) {
	if err := w.clean(); err != nil {
		return "", err
	}
	if w.program = w.cfg.Program; w.program == "" {
		if w.program, err = stock.Find(); err != nil {
			return "", err
		}
	}
	if w.files, err = stock.MakePrivate(w.path(workName), exports, 0); err != nil {
		return "", err
	}
	w.view, err = w.cfg.View()
	if err != nil {
		return "", err
	}
	w.res.Version = w.view.Position().Version
	return fmt.Sprintf("version %d is to be loaded by %s", w.res.Version, w.program), nil
}

func (w *work) export(ctx context.Context) (string, error) {
	path := filepath.Join(w.files.Data, "metadata.mfs")
	if err := standby.WriteView(w.view, path, "", nil); err != nil {
		return "", err
	}
	if w.cfg.exported != nil {
		if err := w.cfg.exported(path); err != nil {
			return "", err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d bytes", info.Size()), nil
}

func (w *work) start(ctx context.Context) (string, error) {
	var err error
	if w.child, err = stock.StartChild(w.program, w.files.Config, w.path(workName, "mfsmaster.out")); err != nil {
		return "", err
	}
	info, err := stock.Serving(ctx, w.files.Clients, w.child.Done())
	if err != nil {
		return "", fmt.Errorf("%w; it said: %s", err, w.child.Said())
	}
	w.res.Release = info.Release.String()
	if info.Version < w.res.Version {
		return "", fmt.Errorf("the master is at version %d", info.Version)
	}
	return fmt.Sprintf("mfsmaster %s serves %d inodes at %s", info.Release, info.Nodes, w.files.Clients), nil
}

// differ takes note of a difference.
func (w *work) differ(text string) {
	w.res.Differences++
	if len(w.res.First) < firstKept {
		w.res.First = append(w.res.First, text)
	}
}

// tree compares what the master serves with the view, directory by directory.
func (w *work) tree(ctx context.Context) (string, error) {
	c, err := stock.Dial(ctx, w.files.Clients)
	if err != nil {
		return "", err
	}
	defer c.Close()
	st := w.view.State()
	session := meta.Session{Root: meta.Root, Flags: c.Session.Flags}
	caller := changelog.NewCaller(meta.SessionID(c.Session.Session), &session, true, 0, nil, nil)
	dirs := []meta.Inode{meta.Root}
	for i := 0; i < len(dirs); i++ {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		more, err := w.dir(c, st, &caller, dirs[i])
		if err != nil {
			return "", fmt.Errorf("directory %d: %w", dirs[i], err)
		}
		dirs = append(dirs, more...)
	}
	if err := st.Err(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d names in %d directories asked for, %d differences", w.res.Names, len(dirs), w.res.Differences), nil
}

// served is what the master says of a name.
type served struct {
	inode meta.Inode
	attr  wire.Attr
}

// dir compares one directory, and returns those in it.
func (w *work) dir(c *stock.Client, st *meta.State, caller *changelog.Caller, dir meta.Inode) (more []meta.Inode, err error) {
	names := map[string]served{}
	err = c.List(dir, func(e *wire.DirEntry) { names[string(e.Name)] = served{e.Inode, e.Attr} })
	if err != nil {
		return nil, err
	}
	for _, e := range st.Edges.List(dir) {
		w.res.Names++
		is, ok := names[string(e.Name)]
		delete(names, string(e.Name))
		n, known := st.Nodes.Get(e.Child)
		if !ok || !known {
			w.differ(fmt.Sprintf("%q in directory %d: inode %d in the image, served by the master: %v", e.Name, dir, e.Child, ok))
			continue
		}
		want := served{e.Child, leader.WireAttr(caller.AttributesOf(st, e.Child, &n, nil))}
		is.attr.Flags, want.attr.Flags = 0, 0 // what a client may keep depends on what it did
		if is != want {
			w.differ(fmt.Sprintf("%q in directory %d: the master serves %+v, the image has %+v", e.Name, dir, is, want))
		}
		if n.Type == meta.TypeDir && is.attr.Type == meta.TypeDir {
			more = append(more, e.Child)
		}
	}
	for name := range names {
		w.differ(fmt.Sprintf("%q in directory %d is served by the master and not in the image", name, dir))
	}
	return more, nil
}

func (w *work) stop(ctx context.Context) (string, error) {
	if err := w.child.Stop(ctx); err != nil {
		return "", err
	}
	return "the master has stored its metadata and ended", nil
}

// compare makes the second image and compares what the master stored with it.
func (w *work) compare(ctx context.Context) (text string, err error) {
	dir := w.path(workName, "reference")
	img, err := w.reference(ctx, dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	logs, err := filepath.Glob(filepath.Join(w.files.Data, "changelog.*.mfs"))
	if err != nil {
		return "", err
	}
	if len(logs) > 0 {
		res, err := replay.Files(ctx, img, replay.Options{}, logs...)
		if err != nil {
			return "", fmt.Errorf("applying what the master wrote: %w", err)
		}
		w.res.Entries = res.Entries
	}
	v, err := img.View()
	if err != nil {
		return "", err
	}
	defer v.Close()
	_, err = verify.File(ctx, v, filepath.Join(w.files.Data, "metadata.mfs"), nil, verify.Config{
		Dir: dir, Cache: w.cfg.Cache, Logger: w.log, Report: func(d metafile.Difference) { w.differ(d.String()) },
		Stage: func(string, int64) func(int64) { return func(int64) {} },
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d entries written meanwhile, %d differences", w.res.Entries, w.res.Differences), nil
}

// reference makes an image of the view, without the file that the master got.
func (w *work) reference(ctx context.Context, dir string) (*image.Image, error) {
	pos, st := w.view.Position(), w.view.State()
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := metafile.Write(replay.Writer(ctx, out), st, metafile.Header{Version: pos.Version}, metafile.WriteOptions{Now: pos.Time})
		out.CloseWithError(err) // nil is the end
		done <- err
	}()
	_, err := standby.Load(dir, in, standby.LoadOptions{
		Cache: w.cfg.Cache, Name: "the exported view", MetaID: st.MetaID, Logger: w.log, Position: image.Position{Release: pos.Release},
	})
	in.CloseWithError(io.ErrClosedPipe)
	if wrote := <-done; err == nil {
		err = wrote
	}
	if err != nil {
		return nil, err
	}
	return image.Open(image.Config{Dir: standby.ImageDir(dir), Cache: w.cfg.Cache, Logger: w.log})
}
