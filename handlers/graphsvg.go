package handlers

import (
	"bytes"
	"encoding/xml"
	"fmt"

	"cooper/internal/model"
)

const svgHead = `<svg xmlns="http://www.w3.org/2000/svg" width="%.0[1]f" height="%.0[2]f" viewBox="0 0 %.0[1]f %.0[2]f" font-family="monospace" text-anchor="middle">
<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z" fill="#57606a"/></marker></defs>
<rect width="100%%" height="100%%" fill="#ffffff"/>
`

// drawGraph draws a graph as SVG: the component on top, what it needs below it. It uses no style, script or link.
func drawGraph(g model.Graph) []byte {
	l := layOut(g)
	var b bytes.Buffer
	fmt.Fprintf(&b, svgHead, max(l.width, 2*drawMargin), l.height)
	for _, r := range l.routes {
		drawRoute(&b, r)
	}
	for _, layer := range l.layers {
		for _, p := range layer {
			if p.node != nil {
				drawBox(&b, p, p.node == &g.Nodes[0]) // the first is the component itself
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// drawRoute draws an edge as a line that leaves and enters every place upright.
func drawRoute(b *bytes.Buffer, r route) {
	from := r[0]
	fmt.Fprintf(b, `<path d="M%.1f %.1f`, from.x, from.y+boxHeight)
	for _, to := range r[1:] {
		top, bottom := from.y+boxHeight, to.y
		middle := (top + bottom) / 2
		fmt.Fprintf(b, `C%.1f %.1f %.1f %.1f %.1f %.1f`, from.x, middle, to.x, middle, to.x, bottom)
		if to.node == nil {
			fmt.Fprintf(b, `L%.1f %.1f`, to.x, to.y+boxHeight)
		}
		from = to
	}
	b.WriteString(`" fill="none" stroke="#57606a" stroke-width="1.5" marker-end="url(#arrow)"/>` + "\n")
}

func drawBox(b *bytes.Buffer, p *place, self bool) {
	fill := "#f6f8fa"
	if self {
		fill = "#ddf4ff"
	}
	b.WriteString("<g><title>")
	escape(b, p.node.Name+"@"+p.node.Tag+" "+p.node.Commit+" "+p.node.Platform+" "+p.node.Digest)
	fmt.Fprintf(b, `</title><rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="8" fill="%s" stroke="#57606a"/>`, p.x-p.width/2, p.y, p.width, boxHeight, fill)
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" font-size="14" font-weight="bold" fill="#1f2328">`, p.x, p.y+20)
	escape(b, p.label)
	fmt.Fprintf(b, `</text><text x="%.1f" y="%.1f" font-size="12" fill="#57606a">`, p.x, p.y+38)
	escape(b, p.note)
	b.WriteString("</text></g>\n")
}

// escape writes a text as XML has it; what XML cannot hold is replaced.
func escape(b *bytes.Buffer, text string) {
	_ = xml.EscapeText(b, []byte(text)) // a buffer takes everything
}
