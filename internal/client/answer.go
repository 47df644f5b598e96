package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// largestAnswer bounds what is read of an answer that is no download.
const largestAnswer = 64 << 20

// answer gets what is at the path, decodes it into out, and returns it as it came.
func (c *Client) answer(ctx context.Context, path string, out any) (json.RawMessage, error) {
	resp, err := c.do(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	return readAnswer(resp, out)
}

// readAnswer reads and closes the body.
func readAnswer(resp *http.Response, out any) (json.RawMessage, error) {
	defer resp.Body.Close()
	raw, err := readLimited(resp)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return raw, nil
}

func readLimited(resp *http.Response) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	if len(raw) > largestAnswer {
		return nil, fmt.Errorf("read the server's answer: it has more than %d bytes", largestAnswer)
	}
	return raw, nil
}
