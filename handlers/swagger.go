package handlers

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	swaggerfiles "github.com/swaggo/files"
	ginswagger "github.com/swaggo/gin-swagger"

	_ "cooper/openapi" // the document that the UI shows registers itself
)

// uiPolicy lets a page load what this server holds, and nothing else. The bundled Swagger UI sets styles of its own and
// draws pictures from data URLs.
const uiPolicy = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// swaggerAssets are the files of the UI that are served.
func swaggerAssets() []string {
	return []string{
		"index.html", "index.css", "swagger-initializer.js", "doc.json", "favicon-16x16.png", "favicon-32x32.png",
		"swagger-ui.css", "swagger-ui.js", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js",
	}
}

// swagger serves the Swagger UI and the document, from this binary alone. The library takes the path's prefix from the
// first request that it sees, so it gets to see only plain names of known files.
func (s *Server) swagger() gin.HandlerFunc {
	files := *swaggerfiles.Handler // a copy: the library writes into it
	ui := ginswagger.WrapHandler(&files, ginswagger.PersistAuthorization(false), ginswagger.DeepLinking(true))
	return func(c *gin.Context) {
		name := strings.TrimPrefix(c.Param("any"), "/")
		if name == "" {
			c.Redirect(http.StatusFound, "/swagger/index.html")
			return
		}
		if !slices.Contains(swaggerAssets(), name) {
			s.noRoute(c)
			return
		}
		c.Request.RequestURI = "/swagger/" + name
		c.Header("Content-Security-Policy", uiPolicy)
		c.Header("Cache-Control", "no-cache")
		ui(c)
	}
}

const rootPage = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Cooper</title></head>
<body>
<h1>Cooper</h1>
<p>Builds container images from Dockerfiles, and components from git repositories, and keeps them.</p>
<ul>
<li><a href="/swagger/index.html">The API</a>, to read and to try</li>
<li><a href="/readyz">Is the service ready?</a></li>
<li><a href="/healthz">Is it alive?</a></li>
<li><a href="/version">Which version is it?</a></li>
<li><a href="/metrics">Metrics for Prometheus</a></li>
</ul>
</body>
</html>
`

// root is a page with links, for people who open the server's address in a browser.
func (s *Server) root(c *gin.Context) {
	c.Header("Content-Security-Policy", uiPolicy)
	c.Data(http.StatusOK, "text/html; charset=utf-8", []byte(rootPage))
}
