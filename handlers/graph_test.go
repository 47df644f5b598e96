package handlers

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cooper/internal/model"
)

func node(id string) model.GraphNode {
	name, tag, _ := strings.Cut(id, "@")
	return model.GraphNode{ID: id, Name: name, Tag: tag, Platform: "linux/amd64", Commit: strings.Repeat("a", 40), Digest: "sha256:aa", BuildID: buildID}
}

// tools is a graph with a shared dependency and an edge past a layer.
func tools() model.Graph {
	return model.Graph{
		Nodes: []model.GraphNode{node("team/tools@v1"), node("curl@v8"), node("png@v1.6"), node("zlib@v1.3")},
		Edges: []model.GraphEdge{
			{From: "team/tools@v1", To: "curl@v8"},
			{From: "team/tools@v1", To: "png@v1.6"},
			{From: "team/tools@v1", To: "zlib@v1.3"},
			{From: "curl@v8", To: "zlib@v1.3"},
			{From: "png@v1.6", To: "zlib@v1.3"},
		},
	}
}

func TestGraph(t *testing.T) {
	a := serve(t)
	a.components.graph = func(model.ComponentQuery) (model.Graph, error) { return tools(), nil }
	for _, path := range []string{"/components/team/tools/graph", "/components/team%2Ftools/graph"} {
		got := a.get(t, base+path+"?tag=v1&architecture=arm64")
		require.Equal(t, 200, got.StatusCode)
		requireGolden(t, "graph", got.body)
	}
	for _, q := range a.components.queries {
		require.Equal(t, model.ComponentQuery{Component: "team/tools", Tag: "v1", Architecture: "arm64"}, q)
	}
	for _, headers := range [][]string{{"format=svg"}, {"", "Accept", "image/avif,image/SVG+xml,*/*"}} {
		got := a.get(t, base+"/components/tools/graph?"+headers[0], headers[1:]...)
		require.Equal(t, "image/svg+xml", got.Header.Get("Content-Type"))
		require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
		require.Contains(t, got.Header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Contains(t, got.Header.Get("Content-Security-Policy"), "sandbox")
		require.Equal(t, "Accept", got.Header.Get("Vary"))
		requireGoldenFile(t, "graph.svg", got.body)
	}
	require.Equal(t, "application/json", a.get(t, base+"/components/tools/graph?format=json", "Accept", "image/svg+xml").Header.Get("Content-Type"))
}

func requireGoldenFile(t *testing.T, name string, body []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, body, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(body))
}

func TestGraphRefuses(t *testing.T) {
	a := serve(t)
	for _, path := range []string{"/components/", "/components/zlib", "/components/graph", "/components//graph", "/components/zlib/graph/", "/components/zlib/other"} {
		a.get(t, base+path).requireCode(t, 404, model.CodeNotFound)
	}
	a.get(t, base+"/components/zlib/graph").requireCode(t, 404, model.CodeComponentNotFound)
	a.get(t, base+"/components/zlib/graph?format=png").requireCode(t, 400, model.CodeParamInvalid)
	a.get(t, base+"/components/zlib/graph?depth=1").requireCode(t, 400, model.CodeParamInvalid)
	a.get(t, base+"/components/z%00/graph").requireCode(t, 422, model.CodeFieldInvalidChar)
	a.get(t, base+"/components/z%ff/graph").requireCode(t, 422, model.CodeFieldInvalidChar)
	require.Len(t, a.components.queries, 1)
}

// TestDrawingsAreWellFormed draws graphs of every odd kind and reads them as XML.
func TestDrawingsAreWellFormed(t *testing.T) {
	hostile := node(`<script>alert(1)</script>"'&` + "\x00\x1b\xff@" + strings.Repeat("長", 100))
	hostile.Commit = `"><image href="x"/>`
	wide := model.Graph{Nodes: []model.GraphNode{node("root@1")}}
	for i := range 300 {
		n := node(fmt.Sprintf("n%d@1", i))
		wide.Nodes = append(wide.Nodes, n)
		wide.Edges = append(wide.Edges, model.GraphEdge{From: "root@1", To: n.ID}, model.GraphEdge{From: n.ID, To: fmt.Sprintf("n%d@1", i+1+i%7)})
	}
	for name, g := range map[string]model.Graph{
		"nothing": {}, "alone": {Nodes: []model.GraphNode{node("a@1")}}, "hostile": {Nodes: []model.GraphNode{hostile}}, "tools": tools(), "wide": wide,
		"cycle": {
			Nodes: []model.GraphNode{node("a@1"), node("b@1"), node("a@1")},
			Edges: []model.GraphEdge{{From: "a@1", To: "b@1"}, {From: "b@1", To: "a@1"}, {From: "a@1", To: "a@1"}, {From: "a@1", To: "gone@1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			svg := drawGraph(g)
			require.Equal(t, string(svg), string(drawGraph(g)), "the same each time")
			elements := map[string]int{}
			d := xml.NewDecoder(strings.NewReader(string(svg)))
			for {
				token, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
				if e, ok := token.(xml.StartElement); ok {
					elements[e.Name.Local]++
				}
			}
			for e := range elements {
				require.Contains(t, []string{"svg", "defs", "marker", "path", "rect", "g", "title", "text"}, e)
			}
			require.NotContains(t, string(svg), "NaN")
		})
	}
}

// TestGraphsTooLargeToDraw: what costs much to lay out and nobody can look at is refused before it is begun.
func TestGraphsTooLargeToDraw(t *testing.T) {
	a := serve(t)
	g := model.Graph{Nodes: []model.GraphNode{node("root@1")}}
	for i := range mostDrawn/2 - 1 {
		n := node(fmt.Sprintf("n%d@1", i))
		g.Nodes = append(g.Nodes, n)
		g.Edges = append(g.Edges, model.GraphEdge{From: "root@1", To: n.ID})
	}
	g.Edges = append(g.Edges, model.GraphEdge{From: "n0@1", To: "n1@1"})
	require.Equal(t, mostDrawn, len(g.Nodes)+len(g.Edges))
	a.components.graph = func(model.ComponentQuery) (model.Graph, error) { return g, nil }
	require.Equal(t, 200, a.get(t, base+"/components/root/graph?format=svg").StatusCode)
	g.Edges = append(g.Edges, model.GraphEdge{From: "n1@1", To: "n2@1"})
	for _, headers := range [][]string{{"format=svg"}, {"", "Accept", "image/svg+xml"}} {
		got := a.get(t, base+"/components/root/graph?"+headers[0], headers[1:]...)
		got.requireCode(t, 422, model.CodeTooManyItems)
		require.Contains(t, got.json(t)["errorMessage"], "format=json")
	}
	require.Equal(t, 200, a.get(t, base+"/components/root/graph?format=json").StatusCode)
}

// TestLongEdgesAreCheapToDraw: edges past many layers do not make a drawing a thousand times larger than its graph.
func TestLongEdgesAreCheapToDraw(t *testing.T) {
	const chain = 500
	g := model.Graph{Nodes: []model.GraphNode{node("n0@1")}}
	for i := 1; i < chain; i++ {
		g.Nodes = append(g.Nodes, node(fmt.Sprintf("n%d@1", i)))
		g.Edges = append(g.Edges, model.GraphEdge{From: g.Nodes[i-1].ID, To: g.Nodes[i].ID})
	}
	for i := range mostDrawn - 2*chain {
		g.Edges = append(g.Edges, model.GraphEdge{From: g.Nodes[i%50].ID, To: g.Nodes[chain-1].ID})
	}
	l := layOut(g)
	require.Len(t, l.layers, chain)
	require.Len(t, l.routes, len(g.Edges))
	require.Less(t, len(drawGraph(g)), 2<<20)
}

// TestBoxesDoNotOverlap holds the layout to what makes it readable.
func TestBoxesDoNotOverlap(t *testing.T) {
	l := layOut(tools())
	require.Len(t, l.layers, 3)
	require.Equal(t, "team/tools@v1", l.layers[0][0].node.ID)
	require.Equal(t, "zlib@v1.3", l.layers[2][0].node.ID, "below all that need it")
	for i, layer := range l.layers {
		right := 0.0
		for _, p := range layer {
			require.Equal(t, i, p.layer)
			require.GreaterOrEqual(t, p.x-p.width/2, right)
			right = p.x + p.width/2
		}
		require.LessOrEqual(t, right, l.width)
	}
	require.Len(t, l.routes[2], 3, "the edge from tools to zlib passes the middle layer at a point of its own")
	box := regexp.MustCompile(`viewBox="0 0 (\d+) (\d+)"`).FindStringSubmatch(string(drawGraph(tools())))
	require.NotNil(t, box)
	width, err := strconv.Atoi(box[1])
	require.NoError(t, err)
	require.InDelta(t, l.width, width, 1)
}
