package handlers

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"cooper/internal/model"
)

// Measures of a drawn graph, in SVG's units.
const (
	boxHeight  = 48
	boxGap     = 28 // between boxes of a layer
	layerGap   = 56
	drawMargin = 16
	charWidth  = 9 // of the text's monospaced font, on the safe side
	labelMost  = 44
)

// mostPoints bounds the points at which edges pass layers: there may be many more of them than there are edges.
const mostPoints = 20_000

// place is a box of the drawing, or a point at which an edge passes a layer.
type place struct {
	node  *model.GraphNode // nil for a point
	label string           // cut to what fits
	note  string
	layer int
	x, y  float64 // centre, and top
	width float64
	order float64
	near  []*place // drawn edges to and from it
}

// route is an edge of the drawing, from box to box, with the points that it passes.
type route []*place

// layout is a graph laid out in layers, so that each component is above all that it needs.
type layout struct {
	layers        [][]*place
	routes        []route
	width, height float64
}

// layOut places a graph. Equal graphs give equal drawings. Edges of nodes that are not there are left out.
func layOut(g model.Graph) *layout {
	l := &layout{}
	at := make(map[string]*place, len(g.Nodes))
	var boxes []*place
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if at[n.ID] != nil {
			continue
		}
		at[n.ID] = newBox(n)
		boxes = append(boxes, at[n.ID])
	}
	var edges []route
	for _, e := range g.Edges {
		if from, to := at[e.From], at[e.To]; from != nil && to != nil && from != to {
			edges = append(edges, route{from, to})
		}
	}
	sink(edges, len(boxes))
	for _, b := range boxes {
		l.put(b)
	}
	straight := passes(edges) > mostPoints
	for _, e := range edges {
		if !straight {
			e = l.through(e[0], e[1])
		}
		l.routes = append(l.routes, e)
	}
	l.arrange()
	return l
}

func newBox(n *model.GraphNode) *place {
	p := &place{node: n, label: shortened(n.Name + "@" + n.Tag)}
	p.note = n.Commit[:min(len(n.Commit), 12)] + " " + n.Platform
	longest := max(utf8.RuneCountInString(p.label), utf8.RuneCountInString(p.note))
	p.width = float64(longest*charWidth + 28)
	return p
}

// shortened cuts a text to what fits into a box.
func shortened(text string) string {
	runes := []rune(text)
	if len(runes) <= labelMost {
		return text
	}
	return string(runes[:labelMost-1]) + "…"
}

// sink moves every box below all that need it. A cycle, which no component has, ends it after as many rounds as there
// are boxes.
func sink(edges []route, boxes int) {
	for range boxes {
		moved := false
		for _, e := range edges {
			if e[1].layer <= e[0].layer && e[0].layer+1 < boxes {
				e[1].layer, moved = e[0].layer+1, true
			}
		}
		if !moved {
			return
		}
	}
}

// passes counts the points that the edges would have.
func passes(edges []route) (n int) {
	for _, e := range edges {
		n += max(e[1].layer-e[0].layer-1, 0)
	}
	return n
}

// put adds a place to its layer.
func (l *layout) put(p *place) {
	for len(l.layers) <= p.layer {
		l.layers = append(l.layers, nil)
	}
	l.layers[p.layer] = append(l.layers[p.layer], p)
}

// through gives an edge a point in each layer that it passes, so that it is not drawn over a box there.
func (l *layout) through(from, to *place) route {
	r := route{from}
	for layer := from.layer + 1; layer < to.layer; layer++ {
		p := &place{layer: layer, width: charWidth}
		l.put(p)
		r = append(r, p)
	}
	r = append(r, to)
	for i := 1; i < len(r); i++ {
		r[i-1].near, r[i].near = append(r[i-1].near, r[i]), append(r[i].near, r[i-1])
	}
	return r
}

// arrange orders each layer so that few edges cross, by the usual means: every place goes to the middle of its
// neighbours in the layer before, downwards and upwards in turns. Then it gives all places their coordinates.
func (l *layout) arrange() {
	for _, layer := range l.layers {
		number(layer)
	}
	for range 4 {
		for i := 1; i < len(l.layers); i++ {
			sortTowards(l.layers[i], i-1)
		}
		for i := len(l.layers) - 2; i >= 0; i-- {
			sortTowards(l.layers[i], i+1)
		}
	}
	for _, layer := range l.layers {
		l.width = max(l.width, widthOf(layer)+2*drawMargin)
	}
	for i, layer := range l.layers {
		x := (l.width - widthOf(layer)) / 2
		for _, p := range layer {
			p.x, p.y = x+p.width/2, float64(drawMargin+i*(boxHeight+layerGap))
			x += p.width + boxGap
		}
	}
	l.height = float64(2*drawMargin + max(len(l.layers)*(boxHeight+layerGap)-layerGap, 0))
}

func sortTowards(layer []*place, other int) {
	middle := make(map[*place]float64, len(layer))
	for _, p := range layer {
		sum, n := 0.0, 0
		for _, q := range p.near {
			if q.layer == other {
				sum, n = sum+q.order, n+1
			}
		}
		middle[p] = p.order
		if n > 0 {
			middle[p] = sum / float64(n)
		}
	}
	slices.SortStableFunc(layer, func(a, b *place) int { return cmp.Compare(middle[a], middle[b]) })
	number(layer)
}

// number spreads the places of a layer evenly from 0 to 1, so that layers of different length compare.
func number(layer []*place) {
	for i, p := range layer {
		p.order = (float64(i) + 0.5) / float64(len(layer))
	}
}

func widthOf(layer []*place) float64 {
	width := float64(boxGap * max(len(layer)-1, 0))
	for _, p := range layer {
		width += p.width
	}
	return width
}
