package handlers

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func TestPostJSONFills(t *testing.T) {
	a := serve(t)
	got := a.postJSON(t, `{"dockerfile":"FROM scratch\n","component":"shop","branch":"feature/x","architecture":["linux/amd64,arm64","s390x"],
		"tag":"v1","target":"final","contextUrl":"https://h/r.git#main:sub","buildArg":["A=1"],"buildArgs":{"B":"x=y"},"label":["l=1"],
		"labels":{"m":"2"},"secret":["s=v=w"],"secrets":{"t":"z"},"noCache":true,"compression":"zstd","publish":"all","timeout":"5m"}`,
		"linux_username", "ada", "X-Github-Username", "Ada L.", "Idempotency-Key", "k1")
	require.Equal(t, http.StatusAccepted, got.StatusCode, string(got.body))
	want := model.ImageRequest{
		ID: buildID, Component: "shop", Branch: "feature/x", Tag: "v1", Architectures: []string{"linux/amd64", "arm64", "s390x"},
		Dockerfile: []byte("FROM scratch\n"), ContextURL: "https://h/r.git#main:sub", Target: "final", BuildArgs: []string{"A=1", "B=x=y"},
		Labels: []string{"l=1", "m=2"}, Secrets: map[string][]byte{"s": []byte("v=w"), "t": []byte("z")}, NoCache: true, Compression: "zstd",
		Publish: "all", Timeout: "5m", IdempotencyKey: "k1",
		Requester: model.Requester{KeyID: "full", LinuxUsername: "ada", GithubUsername: "Ada L."},
	}
	require.Equal(t, want, a.builds.request(t))
	made, dropped := a.builds.drafted()
	require.Equal(t, [2]int{1, 0}, [2]int{made, dropped})
}

func TestPostJSONArchitectures(t *testing.T) {
	for body, want := range map[string][]string{
		`"arm64"`:           {"arm64"},
		`"amd64,,arm64"`:    {"amd64", "", "arm64"},
		`"a,b"`:             {"a", "b"},
		`[]`:                {""}, // for the service to refuse with what it supports
		`""`:                nil,
		`null`:              nil,
		`["amd64","arm64"]`: {"amd64", "arm64"},
	} {
		a := serve(t)
		got := a.postJSON(t, `{"dockerfile":"FROM scratch","architecture":`+body+`}`)
		require.Equal(t, http.StatusAccepted, got.StatusCode, string(got.body))
		require.Equal(t, want, a.builds.request(t).Architectures, body)
	}
}

func TestPostJSONRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		body   string
		status int
		code   model.Code
		field  string
		text   string // part of the message
	}{
		"truncated":           {`{"dockerfile":`, 400, model.CodeBodyMalformed, "", "offset 14"},
		"empty":               {``, 400, model.CodeBodyMalformed, "", "offset 0"},
		"two documents":       {`{}{}`, 400, model.CodeBodyMalformed, "", "offset 3"},
		"trailing garbage":    {`{"dockerfile":"FROM x"} x`, 400, model.CodeBodyMalformed, "", "offset 25"},
		"100,000 deep":        {strings.Repeat("[", 100_000), 400, model.CodeBodyMalformed, "", "offset 10001"},
		"deep in a field":     {`{"label":` + strings.Repeat("[", 100_000), 400, model.CodeBodyMalformed, "", "offset"},
		"a list":              {`[]`, 400, model.CodeBodyMalformed, "", "object"},
		"null":                {`null`, 400, model.CodeBodyMalformed, "", "object"},
		"unknown field":       {`{"urll":1}`, 400, model.CodeFieldUnknown, "urll", ""},
		"case matters":        {`{"Dockerfile":"FROM x"}`, 400, model.CodeFieldUnknown, "Dockerfile", ""},
		"context":             {`{"context":"x"}`, 400, model.CodeFieldUnknown, "context", ""},
		"twice":               {`{"tag":"a","tag":"b"}`, 400, model.CodeFieldDuplicate, "tag", ""},
		"twice in an object":  {`{"buildArgs":{"A":"1","A":"2"}}`, 400, model.CodeFieldDuplicate, "A", ""},
		"number":              {`{"tag":1}`, 422, model.CodeFieldType, "tag", "string"},
		"number for noCache":  {`{"noCache":1}`, 422, model.CodeFieldType, "noCache", ""},
		"string for list":     {`{"label":"a=b"}`, 422, model.CodeFieldType, "label", "list"},
		"number in list":      {`{"label":[1]}`, 422, model.CodeFieldType, "label", ""},
		"null in list":        {`{"label":[null]}`, 422, model.CodeFieldType, "label", ""},
		"list for object":     {`{"labels":[]}`, 422, model.CodeFieldType, "labels", "object"},
		"number in object":    {`{"labels":{"a":1}}`, 422, model.CodeFieldType, "labels", ""},
		"number architecture": {`{"architecture":7}`, 422, model.CodeFieldType, "architecture", "list"},
		"null dockerfile":     {`{"dockerfile":null}`, 422, model.CodeFieldRequired, "dockerfile", ""},
		"null component":      {`{"component":null}`, 422, model.CodeFieldRequired, "component", ""},
		"no dockerfile":       {`{"component":"x"}`, 422, model.CodeDockerfileRequired, "dockerfile", ""},
		"NUL":                 {`{"component":"a\u0000b"}`, 422, model.CodeFieldInvalidChar, "component", ""},
		"NUL in list":         {`{"label":["a\u0000"]}`, 422, model.CodeFieldInvalidChar, "label", ""},
		"NUL in object":       {`{"labels":{"a\u0000":"b"}}`, 422, model.CodeFieldInvalidChar, "labels", ""},
		"NUL in dockerfile":   {`{"dockerfile":"FROM x\u0000"}`, 422, model.CodeFieldInvalidChar, "dockerfile", ""},
		"not UTF-8":           {"{\"component\":\"\xc3\x28\"}", 422, model.CodeFieldInvalidChar, "component", ""},
		"dockerfile bytes":    {"{\"dockerfile\":\"\xc3\x28\"}", 422, model.CodeDockerfileEncoding, "dockerfile", ""},
		"arg name with =":     {`{"buildArgs":{"A=B":"c"}}`, 422, model.CodeBuildArgInvalid, "buildArgs", ""},
		"label name with =":   {`{"labels":{"A=B":"c"}}`, 422, model.CodeLabelInvalid, "labels", ""},
		"secret without ID":   {`{"secrets":{"":"c"}}`, 422, model.CodeSecretInvalid, "secrets", ""},
		"secret without =":    {`{"secret":["c"]}`, 422, model.CodeSecretInvalid, "secret", ""},
		"big dockerfile":      {`{"dockerfile":"` + strings.Repeat("#", 1<<20+1) + `"}`, 413, model.CodeDockerfileTooLarge, "dockerfile", ""},
		"big secret":          {`{"secrets":{"a":"` + strings.Repeat("#", 500<<10+1) + `"}}`, 413, model.CodeSecretTooLarge, "secrets", ""},
		"big body":            {`{"tag":"` + strings.Repeat("#", 4<<20) + `"}`, 413, model.CodeBodyTooLarge, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			got := a.postJSON(t, tt.body)
			got.requireCode(t, tt.status, tt.code)
			m := got.json(t)
			if tt.field != "" {
				require.Equal(t, tt.field, m["field"])
			}
			require.Contains(t, m["errorMessage"], tt.text)
			made, dropped := a.builds.drafted()
			require.Equal(t, made, dropped, "the draft is dropped")
			require.Empty(t, a.builds.asked)
		})
	}
}

func TestPostRefusesHeaders(t *testing.T) {
	for name, tt := range map[string]struct {
		headers []string
		status  int
		code    model.Code
	}{
		"text/plain":           {[]string{"Content-Type", "text/plain"}, 415, model.CodeUnsupportedMediaType},
		"no type":              {[]string{"Content-Type", ""}, 415, model.CodeUnsupportedMediaType},
		"form":                 {[]string{"Content-Type", "application/x-www-form-urlencoded"}, 415, model.CodeUnsupportedMediaType},
		"no boundary":          {[]string{"Content-Type", "multipart/form-data"}, 400, model.CodeMultipartMalformed},
		"empty boundary":       {[]string{"Content-Type", "multipart/form-data; boundary="}, 400, model.CodeMultipartMalformed},
		"long user name":       {[]string{"linux_username", strings.Repeat("a", 257)}, 400, model.CodeParamInvalid},
		"tab in a user name":   {[]string{"X-Github-Username", "a\tb"}, 400, model.CodeParamInvalid},
		"bytes in a user name": {[]string{"github_username", "a\xffb"}, 400, model.CodeParamInvalid},
		"bidi in a user name":  {[]string{"github_username", "a\u202eb"}, 400, model.CodeParamInvalid},
		"long idempotency key": {[]string{"Idempotency-Key", strings.Repeat("a", 256)}, 400, model.CodeParamInvalid},
		"odd idempotency key":  {[]string{"Idempotency-Key", "é"}, 400, model.CodeParamInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			a.postJSON(t, `{"dockerfile":"FROM scratch"}`, tt.headers...).requireCode(t, tt.status, tt.code)
			made, dropped := a.builds.drafted()
			require.Equal(t, made, dropped)
		})
	}
}

// TestServiceErrorsNameTheFieldAsItWasSent holds that somebody who sent buildArgs is not told of a buildArg.
func TestServiceErrorsNameTheFieldAsItWasSent(t *testing.T) {
	for body, want := range map[string]string{
		`"buildArgs":{"A":"1"}`:                    "buildArgs",
		`"buildArg":["A=1"]`:                       "buildArg",
		`"buildArgs":{"A":"1"},"buildArg":["B=1"]`: "buildArg",
		`"buildArg":["B=1"],"buildArgs":{"A":"1"}`: "buildArg",
		`"labels":{"A":"1"}`:                       "buildArg",
	} {
		a := serve(t)
		a.builds.submit = func(model.ImageRequest) (model.Submission, error) {
			return model.Submission{}, model.FieldErrorf(model.CodeBuildArgInvalid, "buildArg", "No.")
		}
		got := a.postJSON(t, `{"dockerfile":"FROM scratch",`+body+`}`)
		got.requireCode(t, http.StatusUnprocessableEntity, model.CodeBuildArgInvalid)
		require.Equal(t, want, got.json(t)["field"], body)
	}
}

func TestServiceErrorsDropTheDraft(t *testing.T) {
	a := serve(t)
	a.builds.submit = func(model.ImageRequest) (model.Submission, error) {
		return model.Submission{}, model.Errorf(model.CodeQueueFull, "1,000 jobs are queued already.")
	}
	got := a.postJSON(t, `{"dockerfile":"FROM scratch"}`)
	got.requireCode(t, http.StatusTooManyRequests, model.CodeQueueFull)
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	_, dropped := a.builds.drafted()
	require.Equal(t, 1, dropped)
}
