package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"cooper/internal/config"
)

// workshop is a folder in which a Dockerfile is built by hand.
type workshop struct {
	s   *server
	dir string
}

// workshop makes the folder, with the Dockerfile and what logs in to the server's registry.
func (s *server) workshop(dockerfile string) (workshop, error) {
	dir, err := os.MkdirTemp(s.dir, "by-hand")
	if err != nil {
		return workshop{}, err
	}
	auth := base64.StdEncoding.EncodeToString([]byte("admin:" + adminKey))
	for name, text := range map[string]string{
		"Dockerfile": dockerfile, "config.json": fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.host, auth),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return workshop{}, err
		}
	}
	return workshop{s: s, dir: dir}, nil
}

// buildctl is the command that builds the workshop's Dockerfile with a folder as its context, on the server's own daemon.
func (w workshop) buildctl(contextDir string, args ...string) []string {
	socket := filepath.Join(w.s.data(), "buildkit", "run", "buildkitd.sock")
	return append([]string{
		filepath.Join(w.s.bin, "buildctl"), "--addr", "unix://" + socket, "build", "--frontend", "dockerfile.v0", "--progress", "plain",
		"--local", "context=" + contextDir, "--local", "dockerfile=" + w.dir,
	}, args...)
}

// run runs a command in the workshop and returns how long it took.
func (w workshop) run(ctx context.Context, command ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = w.dir, append(config.Environment(), "DOCKER_CONFIG="+w.dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", filepath.Base(command[0]), err, said.Bytes())
	}
	return time.Since(began), nil
}

// buildctl builds a Dockerfile by hand and pushes it to the server's own registry.
func (s *server) buildctl(ctx context.Context, dockerfile, ref string, args ...string) (time.Duration, error) {
	w, err := s.workshop(dockerfile)
	if err != nil {
		return 0, err
	}
	empty := filepath.Join(w.dir, "context")
	if err := os.Mkdir(empty, 0o700); err != nil {
		return 0, err
	}
	args = append([]string{"--output", "type=image,name=" + ref + ",push=true"}, args...)
	return w.run(ctx, w.buildctl(empty, args...)...)
}

// componentByHand makes a tarball of the newest commit as a person would: clone, build, compress.
func (s *server) componentByHand(ctx context.Context, url string, recipe recipeAnswer) (time.Duration, error) {
	w, err := s.workshop(recipe.Dockerfile)
	if err != nil {
		return 0, err
	}
	args := []string{"--output", "type=tar,dest=-"}
	if recipe.Target != "" {
		args = append(args, "--opt", "target="+recipe.Target)
	}
	for k, v := range recipe.BuildArgs {
		args = append(args, "--opt", "build-arg:"+k+"="+v)
	}
	const script = `set -eo pipefail; url=$1; shift; git clone --quiet --depth 1 "$url" source; "$@" | pigz >component.tar.gz`
	took, err := w.run(ctx, append([]string{"bash", "-c", script, "bash", url}, w.buildctl("source", args...)...)...)
	if err != nil {
		return 0, err
	}
	st, err := os.Stat(filepath.Join(w.dir, "component.tar.gz"))
	if err == nil && st.Size() == 0 {
		err = fmt.Errorf("nothing was made by hand")
	}
	return took, err
}
