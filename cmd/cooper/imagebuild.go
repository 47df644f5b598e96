package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cooper/internal/client"
	"cooper/internal/config"
)

// cancelWithin bounds the cancel that an interrupted build sends.
const cancelWithin = 5 * time.Second

// imageBuild is `cooper image build` with its flags.
type imageBuild struct {
	dockerfile, component, branch, tag, target, compression, publish, timeout string
	platforms, buildArgs, labels, secrets, components                         []string
	noCache, detach                                                           bool
}

func imageBuildCommand() *cobra.Command {
	var b imageBuild
	cmd := &cobra.Command{
		Use:   "build [flags] [PATH | GIT-URL]",
		Short: "Build an image from a Dockerfile, follow the build, print the image's name",
		Long: "Build an image from a Dockerfile, follow the build, print the image's name.\n\n" +
			"PATH is the build context (default: the current folder); what its .dockerignore names is not sent. A GIT-URL,\n" +
			"https://host/repo.git#ref:subdir, is fetched by the server. The log goes to standard error, the image's name to\n" +
			"standard output. The exit code is 1 when the build fails.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "."
			if len(args) == 1 {
				path = args[0]
			}
			return b.run(cmd, path)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&b.dockerfile, "file", "f", "", "Dockerfile (default PATH/Dockerfile)")
	f.StringVar(&b.component, "component", "", "component that the image is of (default: the folder's name)")
	f.StringVar(&b.branch, "branch", "", "git branch (default: that of PATH, else main)")
	f.StringVarP(&b.tag, "tag", "t", "", "tag (default latest)")
	f.StringSliceVar(&b.platforms, "platform", nil, "platforms, repeated or as a comma list (default: the server's)")
	f.StringVar(&b.target, "target", "", "stage to build (default: the last)")
	f.StringArrayVar(&b.buildArgs, "build-arg", nil, "NAME=VALUE, repeated")
	f.StringArrayVar(&b.labels, "label", nil, "NAME=VALUE, repeated")
	f.StringArrayVar(&b.secrets, "secret", nil, "ID=FILE, repeated; for RUN --mount=type=secret,id=ID")
	f.StringArrayVar(&b.components, "with-component", nil, "NAME@TAG, repeated; for COPY --from=NAME")
	f.BoolVar(&b.noCache, "no-cache", false, "run every step again")
	f.StringVar(&b.compression, "compression", "", "of new layers: gzip or zstd")
	f.StringVar(&b.publish, "publish", "", "each: a platform as soon as it is built; all: only when every one is")
	f.StringVar(&b.timeout, "timeout", "", "for example 30m")
	f.BoolVarP(&b.detach, "detach", "d", false, "print the build's ID and do not wait")
	return cmd
}

func (b *imageBuild) run(cmd *cobra.Command, path string) error {
	ctx := cmd.Context()
	c, err := newClient()
	if err != nil {
		return err
	}
	req, err := b.request(ctx, path)
	if err != nil {
		return err
	}
	sub, err := c.BuildImage(ctx, req)
	if err != nil {
		return err
	}
	if b.detach {
		fmt.Fprintln(cmd.OutOrStdout(), sub.BuildID)
		return nil
	}
	out := cmd.ErrOrStderr()
	fmt.Fprintf(out, "build %s of %s\n", sub.BuildID, sub.ImageName)
	end, err := c.Follow(ctx, sub.BuildID, newProgress(out).line)
	if ctx.Err() != nil {
		return interrupted(c, sub.BuildID)
	}
	if err != nil {
		return err
	}
	if end.Status != "succeeded" {
		return fmt.Errorf("the build %s: %s: %s", end.Status, end.Code, end.ErrorMessage)
	}
	fmt.Fprintln(cmd.OutOrStdout(), sub.ImageName)
	return nil
}

// interrupted takes us off the build before we go.
func interrupted(c *client.Client, buildID string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cancelWithin)
	defer cancel()
	if err := c.Cancel(ctx, buildID); err != nil {
		return fmt.Errorf("interrupted; the build %s could not be canceled: %w", buildID, err)
	}
	return errors.New("interrupted; the build was canceled")
}

func (b *imageBuild) request(ctx context.Context, path string) (client.ImageBuild, error) {
	req := client.ImageBuild{Dockerfile: b.dockerfile, Secrets: map[string]string{}}
	remote := strings.Contains(path, "://")
	if req.Dockerfile == "" {
		if remote {
			return req, usageError{errors.New("with a git URL, name the Dockerfile with -f")}
		}
		req.Dockerfile = filepath.Join(path, "Dockerfile")
	}
	for _, s := range b.secrets {
		id, file, ok := strings.Cut(s, "=")
		if !ok {
			return req, usageError{fmt.Errorf("--secret %q is not ID=FILE", s)}
		}
		value, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return req, fmt.Errorf("read the secret %s: %w", id, err)
		}
		req.Secrets[id] = string(value)
	}
	b.fields(ctx, path, remote, &req)
	if remote {
		req.Fields.Set("contextUrl", path)
		return req, nil
	}
	var err error
	req.Context, err = client.ContextTar(ctx, path)
	return req, err
}

func (b *imageBuild) fields(ctx context.Context, path string, remote bool, req *client.ImageBuild) {
	if b.component == "" {
		b.component = componentName(path)
	}
	if b.branch == "" && !remote {
		b.branch = gitBranch(ctx, path)
	}
	req.Fields = url.Values{"architecture": b.platforms, "buildArg": b.buildArgs, "label": b.labels, "components": b.components}
	for field, value := range map[string]string{
		"component": b.component, "branch": b.branch, "tag": b.tag, "target": b.target, "compression": b.compression,
		"publish": b.publish, "timeout": b.timeout,
	} {
		if value != "" {
			req.Fields.Set(field, value)
		}
	}
	if b.noCache {
		req.Fields.Set("noCache", "true")
	}
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// componentName makes a name out of the context's folder or repository.
func componentName(path string) string {
	path, _, _ = strings.Cut(path, "#")
	if abs, err := filepath.Abs(path); err == nil && !strings.Contains(path, "://") {
		path = abs
	}
	base := strings.TrimSuffix(filepath.Base(path), ".git")
	return strings.Trim(unfit.ReplaceAllString(strings.ToLower(base), "-"), "-")
}

// gitBranch is the branch that is checked out at dir; empty when there is none.
func gitBranch(ctx context.Context, dir string) string {
	cmd := exec.CommandContext(ctx, "git", "-C", dir, "symbolic-ref", "--quiet", "--short", "HEAD") //nolint:gosec // the user's own folder
	cmd.Env = config.Environment()
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
