package handlers

// What follows is read by swag, which makes openapi/ of it and of the annotations at the handlers.
//
//	@title			Cooper
//	@version		1
//	@description	Cooper builds container images from Dockerfiles, one per architecture, and keeps them in an OCI registry.
//	@description
//	@description	POST a Dockerfile to `/api/v1/images`, follow `links.logs`, and pull `imageName` when its status is `succeeded`.
//	@description	`GET /api/v1/image` finds an image again.
//	@description
//	@description	It also builds components from git repositories: `GET /api/v1/component` with a `url` and a `tag` gives a component as a
//	@description	tarball, as a path on the server or as a download URL, and builds it first when there is none.
//	@description
//	@description	Every call under `/api/v1` needs an API key; press Authorize.
//	@description
//	@description	Every response has `status` and `errorMessage`. Refusals also have a stable `code`, the `field` at fault, `allowed` where
//	@description	there is a list of what would be accepted, and a `requestId` under which the server's log has more.
//	@description	The codes of refusals and of failed builds are listed in the model `model.Code`.
//	@license.name	Apache-2.0
//	@BasePath		/
//
//	@tag.name		images
//	@tag.description	Build images and find them
//	@tag.name		components
//	@tag.description	Get components of git repositories, built on demand
//	@tag.name		builds
//	@tag.description	What was asked for: its state, its log, its end
//	@tag.name		service
//	@tag.description	The service itself
//
//	@securityDefinitions.apikey	ApiKeyAuth
//	@in							header
//	@name						X-API-Key
//	@description				An API key. `Authorization: Bearer KEY` means the same, and so does HTTP Basic with any user name and the key as the password, as in `curl -u any:KEY`.
