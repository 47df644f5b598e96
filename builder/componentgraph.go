package builder

import (
	"context"
	"slices"
	"strings"

	"cooper/internal/model"
)

// Graph returns what a component was built with, directly and indirectly, as it was recorded.
func (s *Service) Graph(ctx context.Context, q model.ComponentQuery) (model.Graph, error) {
	id, err := s.identify(q.Component, q.Tag, q.Architecture)
	if err != nil {
		return model.Graph{}, err
	}
	top, err := s.Values.Component(ctx, id.name, id.tag, id.environment, id.platform)
	if err != nil {
		return model.Graph{}, err
	}
	g := grapher{graph: model.Graph{Nodes: []model.GraphNode{}, Edges: []model.GraphEdge{}}, ids: map[string]string{}}
	g.add(top)
	queue := []model.Component{top}
	for len(queue) > 0 {
		c := queue[0]
		queue = queue[1:]
		for _, d := range c.Dependencies {
			if _, known := g.ids[d.BuildID]; !known {
				dep, err := s.Values.ComponentOfBuild(ctx, d.BuildID, d.Platform)
				if err != nil {
					return g.graph, err
				}
				g.add(dep)
				queue = append(queue, dep)
			}
			g.graph.Edges = append(g.graph.Edges, model.GraphEdge{From: g.ids[c.BuildID], To: g.ids[d.BuildID]})
		}
	}
	return g.graph, nil
}

// grapher makes a graph of values.
type grapher struct {
	graph model.Graph
	ids   map[string]string // of nodes, by the build that made them
}

// add makes a value's node. Two values of one name and tag are told apart by the start of their digests.
func (g *grapher) add(c model.Component) {
	id := c.Name + "@" + c.Tag
	if slices.ContainsFunc(g.graph.Nodes, func(n model.GraphNode) bool { return n.ID == id }) {
		id += "#" + strings.TrimPrefix(c.Tarball.Digest, "sha256:")[:12]
	}
	g.ids[c.BuildID] = id
	g.graph.Nodes = append(g.graph.Nodes, model.GraphNode{
		ID: id, Name: c.Name, Tag: c.Tag, Environment: c.Environment, Platform: c.Platform, Commit: c.Source.Commit,
		Digest: c.Tarball.Digest, BuildID: c.BuildID,
	})
}
