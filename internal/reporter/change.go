// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"net/http"
	"regexp"
	"time"
)

// productNames are the ones that Reporter takes. Go would refuse to send some of the others, which looks like an outage.
var productNames = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// sendWithin is the longest that a Create takes from asking for permission to the last byte of the request: whoever was permitted can
// rely on it when he counts from then how late Reporter may still carry the request out.
const sendWithin = 10 * time.Second

// Create creates a connection of a product. It returns it for the answer 201 with the whole of it alone. The errors that follow from
// what was asked are IsNameTaken and IsInvalid. MayHaveActed says that the connection may be there all the same, or come to be: Reporter
// carries out what its client has given up. It is false where the request was not sent, or Reporter itself refused it.
//
// Nothing is sent later than 10 seconds after permit was called.
func (c *Client) Create(ctx context.Context, productName string, settings Settings, permit Permit) (*Connection, error) {
	r := request{method: http.MethodPost, path: connectionsPath, productName: productName, permit: permit, sendWithin: sendWithin}
	if !productNames.MatchString(productName) {
		return nil, c.invalid(r, "productName")
	}
	answer, err := c.callWith(ctx, r, settings)
	if err != nil {
		return nil, err
	}
	var created object
	if !answer.decode(http.StatusCreated, &created) || !canonicalUUID.MatchString(created.id()) ||
		valueOf[string](created.ConfigName) != orEmpty(settings.ConfigName) {
		return nil, answer.asError()
	}
	return answer.connection(&created), nil
}

// Update changes what is given of a connection, and returns all of it as it is then, for the answer 200 alone. Reporter reads the
// connection, changes it and writes it back as a whole: of two changes at the same time one is lost, though both are answered with 200.
// The errors that follow from what was asked are IsNotFound, IsJobInProgress, IsNameTaken and IsInvalid; MayHaveActed is as of Create.
func (c *Client) Update(ctx context.Context, id string, settings Settings, permit Permit) (*Connection, error) {
	r := request{method: http.MethodPatch, permit: permit}
	var err error
	if r.path, err = c.connectionPath(r.method, id); err != nil {
		return nil, err
	}
	answer, err := c.callWith(ctx, r, settings)
	if err != nil {
		return nil, err
	}
	var updated object
	if !answer.decode(http.StatusOK, &updated) || updated.id() != id {
		return nil, answer.asError()
	}
	return answer.connection(&updated), nil
}

// callWith is callUnlessOut for a request that carries settings.
func (c *Client) callWith(ctx context.Context, r request, settings Settings) (*answer, error) {
	var refused string
	if r.body, refused = settings.body(); refused != "" {
		return nil, c.invalid(r, refused)
	}
	r.secrets = settings.secrets()
	return c.callUnlessOut(ctx, r)
}

// invalid is the error of a request that cannot be sent because of a field.
func (c *Client) invalid(r request, field string) error {
	return &Error{Method: r.method, Path: c.shownPath(r.path), kind: kindInvalid, Fields: field, Message: "the value cannot be sent; nothing was sent"}
}
