package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// The Swagger UI is enough to build an image: in a browser somebody gives the key, chooses a Dockerfile and a context,
// presses Execute, and what comes of it can be pulled.
func TestSwaggerUIBuildsAnImage(t *testing.T) {
	s := startServer(t, nil)
	s.pushBusybox()
	dir := t.TempDir()
	dockerfile, archive := filepath.Join(dir, "Dockerfile"), filepath.Join(dir, "context.tar")
	require.NoError(t, os.WriteFile(dockerfile, []byte("FROM busybox\nCOPY greeting /\nRUN echo clicked >/how\n"), 0o600))
	require.NoError(t, os.WriteFile(archive, []byte(tarOf(t, "greeting", "hello from a browser\n")), 0o600))

	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, patience)
	defer cancel()
	const post = "#operations-images-post_api_v1_images "
	field := func(name string) string { return post + `tr[data-param-name="` + name + `"] input` }
	require.NoError(t, chromedp.Do(ctx,
		chromedp.Navigate(s.url+"/swagger/index.html"),
		chromedp.Click(chromedp.CSS(".btn.authorize")),
		chromedp.SendKeys(chromedp.CSS(".auth-container input"), testKey),
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .authorize")),
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .btn-done")),
		chromedp.Click(chromedp.CSS(post+".opblock-summary-control")),
		chromedp.Click(chromedp.CSS(post+".try-out__btn")),
		chromedp.SetUploadFiles(chromedp.CSS(field("dockerfile")), []string{dockerfile}),
		chromedp.SetUploadFiles(chromedp.CSS(field("context")), []string{archive}),
		chromedp.SendKeys(chromedp.CSS(field("component")), "clicked"),
		chromedp.Click(chromedp.CSS(post+".execute")),
	), "needs Chromium: make setup-test")
	answer, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(post+".live-responses-table tbody .response-col_description")))
	require.NoError(t, err)
	id := regexp.MustCompile(`"buildId":\s*"([0-9a-f-]{36})"`).FindStringSubmatch(answer)
	require.NotNil(t, id, answer)

	end := s.wait(id[1])
	require.Equal(t, "succeeded", end.str("status"), "%s", end.raw)
	image := s.image("component", "clicked")
	require.Equal(t, http.StatusOK, image.status, "%s", image.raw)
	_, read := s.imageOf(image.str("imageName"), runtime.GOARCH)
	require.Equal(t, "hello from a browser\n", read("greeting"))
	require.Equal(t, "clicked\n", read("how"))
}
