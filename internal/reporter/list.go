// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Query says which connections a List is for. What is empty does not matter; of a List by neither mark nor name, all are found.
type Query struct {
	// Tenant is whose connections are meant: nothing is believed that was asked with a token for another one.
	Tenant Tenant
	// MetadataKey is of a field of the metadata, and has no dot in it; MetadataValue is the text that it has to be, exactly.
	MetadataKey, MetadataValue string
	// ConfigName is compared by the client, as Reporter has no filter for it: all connections there are come over the wire.
	ConfigName string
	// Since is the day of the oldest ones, by Reporter's clock. Zero means all there can be.
	Since time.Time
}

const (
	// pageLimit is how many connections are on a page, at most: those that are configured on the server come on top of the first one.
	pageLimit = 20
	// maxPage bounds the body of a page. Metadata alone may be long.
	maxPage = 1 << 20
	// maxPages bounds the pages of one window, for a server that never comes to an end.
	maxPages = 1000
)

// firstConnections is before all connections: the service was begun then.
var firstConnections = time.Date(2025, time.November, 1, 0, 0, 0, 0, time.UTC)

var (
	errOtherTenant  = errors.New("the credentials are for another tenant than before")
	errEndlessPages = errors.New("the list does not come to an end")
)

// List returns the connections that a query is for, the newest months first. Reporter lists what was created within a month at most, so
// it is asked for one month after the other, page by page. Only the whole of it says that there are no others, and an error that there
// may be: each answer has to be a well-formed 200, and of the tenant. What is deleted while several pages of one month are read may
// hide what moves up to a page that was read already; those of one mark fit on one.
func (c *Client) List(ctx context.Context, query Query) ([]*Connection, error) {
	var found []*Connection
	seen := map[string]bool{} // those that are configured on the server come with each month
	for from, to := range query.months(time.Now()) {
		for page := 1; ; page++ {
			rows, isLast, err := c.page(ctx, query, from, to, page)
			if err != nil {
				return nil, err
			}
			for _, row := range rows {
				if query.matches(row) && !seen[row.ID] {
					seen[row.ID] = true
					found = append(found, row)
				}
			}
			if isLast {
				break
			}
		}
	}
	return found, nil
}

// months goes through the calendar months that a query is for, the newest first, each up to the first day that is not in it any more. A
// month of the calendar is never more than Reporter takes for one. Its clock may be ahead of ours, so that it is tomorrow there already.
// There is always something to ask for, whatever our clock shows: who asked nothing has not seen that nothing is there.
func (q *Query) months(now time.Time) iter.Seq2[time.Time, time.Time] {
	now = now.UTC()
	newest, since := now.AddDate(0, 0, 1), q.Since
	if since.IsZero() {
		since = earlier(firstConnections, now.AddDate(-1, 0, 0))
	}
	since = earlier(since, now.AddDate(0, 0, -1)).UTC().Truncate(24 * time.Hour)
	return func(yield func(from, to time.Time) bool) {
		to := time.Date(newest.Year(), newest.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		for to.After(since) {
			from := to.AddDate(0, -1, 0)
			if from.Before(since) {
				from = since
			}
			if !yield(from, to) {
				return
			}
			to = to.AddDate(0, -1, 0)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// matches says whether a connection is one of those that a query is for. Reporter's own filters are not relied on: it lists those that
// are configured on the server whatever was asked for.
func (q *Query) matches(c *Connection) bool {
	if q.MetadataKey != "" {
		value := valueOf[*string](c.Settings.Metadata[q.MetadataKey])
		if value == nil || *value != q.MetadataValue {
			return false
		}
	}
	return q.ConfigName == "" || orEmpty(c.Settings.ConfigName) == q.ConfigName
}

// page returns one page of a window, and whether it is the last one.
func (c *Client) page(ctx context.Context, query Query, from, to time.Time, page int) (rows []*Connection, isLast bool, err error) {
	parameters := url.Values{
		"startDate": {from.Format(time.DateOnly)}, "endDate": {to.Format(time.DateOnly)},
		"limit": {strconv.Itoa(pageLimit)}, "page": {strconv.Itoa(page)}, "sortOrder": {"desc"},
	}
	if query.MetadataKey != "" {
		parameters.Set("metadata."+query.MetadataKey, query.MetadataValue)
	}
	r := request{method: http.MethodGet, path: connectionsPath, query: parameters, maxBody: maxPage}
	if page > maxPages {
		return nil, false, &Error{Method: r.method, Path: c.shownPath(r.path), Err: errEndlessPages}
	}
	answer, err := c.callUnlessOut(ctx, r)
	if err != nil {
		return nil, false, err
	}
	var list struct {
		Items json.RawMessage `json:"items"`
		Page  json.RawMessage `json:"page"`
		Limit json.RawMessage `json:"limit"`
	}
	var items []object // null is an empty list too
	if !answer.decode(http.StatusOK, &list) || json.Unmarshal(list.Items, &items) != nil ||
		valueOf[int](list.Page) != page || valueOf[int](list.Limit) != pageLimit {
		return nil, false, answer.asError()
	}
	if tenantOf(answer.token) != query.Tenant {
		return nil, false, &Error{Method: r.method, Path: c.shownPath(r.path), Err: errOtherTenant}
	}
	for i := range items {
		if !canonicalUUID.MatchString(items[i].id()) {
			return nil, false, answer.asError()
		}
		rows = append(rows, answer.connection(&items[i]))
	}
	return rows, len(items) < pageLimit, nil
}
