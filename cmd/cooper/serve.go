package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"cooper/internal/config"
)

func serveCommand(stderr io.Writer) *cobra.Command {
	var listen, publicURL, dataDir string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the API, the registry, the queue, a worker and its BuildKit",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load()
			if err != nil {
				return err
			}
			for flag, set := range map[string]func(){
				"listen":     func() { cfg.Listen = listen },
				"public-url": func() { cfg.PublicURL = publicURL },
				"data-dir":   func() { cfg.DataDir = dataDir },
			} {
				if cmd.Flags().Changed(flag) {
					set()
				}
			}
			log, err := newLogger(stderr, cfg.LogLevel)
			if err != nil {
				return err
			}
			for _, name := range config.Unknown() {
				log.Warn("this is no setting of this version and changes nothing; .env.example lists those that are", "name", name)
			}
			return serve(cmd.Context(), cfg, log, stderr)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "address to listen on (COOPER_LISTEN)")
	cmd.Flags().StringVar(&publicURL, "public-url", "", "URL under which others reach this server (COOPER_PUBLIC_URL)")
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "folder of everything that is kept (COOPER_DATA_DIR)")
	return cmd
}

// serve runs a server until ctx ends.
func serve(ctx context.Context, cfg config.Config, log *slog.Logger, banner io.Writer) error {
	s, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	fmt.Fprint(banner, s.banner())
	return s.run(ctx)
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("COOPER_LOG_LEVEL=%q is none of debug, info, warn, error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
