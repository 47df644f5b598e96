package handlers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browser starts a headless Chromium for the test and returns what it asked the network for, and what it complained
// about.
func browser(t *testing.T) (ctx context.Context, seen func() (urls, complaints []string)) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var urls, complaints []string
	require.NoError(t, chromedp.Listen(ctx, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *network.EventRequestWillBeSent:
			urls = append(urls, e.Request.URL)
		case *log.EventEntryAdded:
			complaints = append(complaints, e.Entry.Text+" "+e.Entry.URL)
		}
	}), "needs Chromium: make setup-test")
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	return ctx, func() ([]string, []string) {
		mu.Lock()
		defer mu.Unlock()
		return urls, complaints
	}
}

// TestSwaggerUITriesAMultipartPost does what somebody does who meets the API for the first time: opens the page, gives
// the key, and posts a Dockerfile for two architectures.
func TestSwaggerUITriesAMultipartPost(t *testing.T) {
	a := serve(t)
	file := filepath.Join(t.TempDir(), "Dockerfile")
	require.NoError(t, os.WriteFile(file, []byte("FROM scratch\nCMD [\"/x\"]\n"), 0o600))
	ctx, seen := browser(t)
	const post = "#operations-images-post_api_v1_images"
	architecture := post + ` tr[data-param-name="architecture"]`
	require.NoError(t, chromedp.Do(ctx,
		chromedp.Navigate(a.URL+"/swagger/index.html"),
		chromedp.Click(chromedp.CSS(".btn.authorize")),
		chromedp.SendKeys(chromedp.CSS(".auth-container input"), fullKey),
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .authorize")),
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .btn-done")),
		chromedp.Click(chromedp.CSS(post+" .opblock-summary-control")),
		chromedp.Click(chromedp.CSS(post+" .try-out__btn")),
		chromedp.SetUploadFiles(chromedp.CSS(post+` tr[data-param-name="dockerfile"] input[type=file]`), []string{file}),
		chromedp.SendKeys(chromedp.CSS(post+` tr[data-param-name="component"] input`), "shop"),
		chromedp.Click(chromedp.CSS(architecture+" .json-schema-form-item-add")),
		chromedp.DoubleClick(chromedp.CSS(architecture+" .json-schema-form-item:nth-of-type(1) input")), // selects the "string" that the UI puts there
		chromedp.KeyEvent("linux/amd64"),
		chromedp.Click(chromedp.CSS(architecture+" .json-schema-form-item-add")),
		chromedp.DoubleClick(chromedp.CSS(architecture+" .json-schema-form-item:nth-of-type(2) input")), // selects the "string" that the UI puts there
		chromedp.KeyEvent("linux/arm64"),
		chromedp.Click(chromedp.CSS(post+" .execute")),
	))
	status, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(post+" .live-responses-table tbody .response-col_status")))
	require.NoError(t, err)
	body, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(post+" .live-responses-table tbody .response-col_description")))
	require.NoError(t, err)
	require.Contains(t, status, "202", body)
	require.Contains(t, body, buildID)
	r := a.builds.request(t)
	require.Equal(t, "FROM scratch\nCMD [\"/x\"]\n", string(r.Dockerfile))
	require.Equal(t, "shop", r.Component)
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, r.Architectures)
	require.Equal(t, "main", r.Branch)
	require.Nil(t, r.Upload)

	urls, complaints := seen()
	require.NotEmpty(t, urls)
	for _, u := range urls {
		require.True(t, strings.HasPrefix(u, a.URL) || strings.HasPrefix(u, "data:"), "the page asks the network for %s", u)
	}
	for _, c := range complaints {
		require.NotContains(t, c, "Content Security Policy")
	}
}
