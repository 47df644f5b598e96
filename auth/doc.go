// Package auth knows who may do what: API keys and their scopes, the administrator's key, short-lived tokens for pushing
// into one repository, and the limits on failed attempts and on requests. It answers with principals and coded errors;
// writing them to HTTP, and asking for them, is for those who use it.
package auth
