package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
)

// ImageBuild is a request to build an image.
type ImageBuild struct {
	Dockerfile string                  // path of the file
	Context    func(w io.Writer) error // writes the context's tar; nil for none
	Fields     url.Values              // the API's other fields
	Secrets    map[string]string       // values by ID
}

// BuildImage submits a build. The context is streamed.
func (c *Client) BuildImage(ctx context.Context, b ImageBuild) (Submitted, error) {
	pr, pw := io.Pipe()
	form := multipart.NewWriter(pw)
	go func() {
		err := b.write(form)
		if err != nil {
			err = &inputError{err}
		}
		_ = pw.CloseWithError(err) // nil ends the body
	}()
	defer pr.Close() //nolint:errcheck // ends the writer when the server has answered early
	resp, err := c.do(ctx, http.MethodPost, "/images", pr, http.Header{"Content-Type": {form.FormDataContentType()}})
	var input *inputError
	if errors.As(err, &input) {
		return Submitted{}, input.error // without what says that the server cannot be reached
	}
	if err != nil {
		return Submitted{}, err
	}
	defer resp.Body.Close()
	var out Submitted
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("read the server's answer: %w", err)
	}
	return out, nil
}

// inputError is one of what was to be sent.
type inputError struct{ error }

func (e *inputError) Unwrap() error { return e.error }

func (b ImageBuild) write(form *multipart.Writer) error {
	for name, values := range b.Fields {
		for _, v := range values {
			if err := form.WriteField(name, v); err != nil {
				return err
			}
		}
	}
	for id, value := range b.Secrets {
		if err := form.WriteField("secret", id+"="+value); err != nil {
			return err
		}
	}
	if err := b.writeDockerfile(form); err != nil {
		return err
	}
	if b.Context != nil {
		part, err := form.CreateFormFile("context", "context.tar")
		if err != nil {
			return err
		}
		if err := b.Context(part); err != nil {
			return fmt.Errorf("read the build context: %w", err)
		}
	}
	return form.Close()
}

func (b ImageBuild) writeDockerfile(form *multipart.Writer) error {
	f, err := os.Open(b.Dockerfile)
	if err != nil {
		return fmt.Errorf("open the Dockerfile: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	part, err := form.CreateFormFile("dockerfile", "Dockerfile")
	if err != nil {
		return err
	}
	_, err = io.Copy(part, f)
	return err
}
