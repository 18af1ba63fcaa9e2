package reportertest

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultLimit = 10
	maxLimit     = 100
)

// page is the answer of the list endpoint. Total counts what lies in the window, on whatever page.
type page struct {
	Items []any `json:"items"`
	Page  int   `json:"page"`
	Limit int   `json:"limit"`
	Total int   `json:"total"`
}

// list shows the connections created in a window of at most one month, so it never proves absence. The header
// X-Product-Name, type and metadata narrow it; other fields do nothing, without a word. In multi-tenant mode the internal
// connections come first on page 1, whatever is asked for but the type.
func (r *Reporter) list(tenant string, req *http.Request) answer {
	query := req.URL.Query()
	number, err := positive(query.Get("page"), 1)
	if err != nil {
		return answer{400, invalidQuery.with("The page must be a number from 1 on.")}
	}
	limit, err := positive(query.Get("limit"), defaultLimit)
	switch {
	case err != nil:
		return answer{400, invalidQuery.with("The limit must be a number from 1 on.")}
	case limit > maxLimit:
		return answer{400, limitExceeded}
	}
	order := strings.ToLower(cmp.Or(query.Get("sortOrder"), "desc"))
	if order != "asc" && order != "desc" {
		return answer{400, invalidSortOrder}
	}
	from, to, err := window(query, r.now())
	switch {
	case err != nil:
		return answer{400, invalidDate}
	case !from.Before(to):
		return answer{400, invalidFinalDate}
	}

	product := strings.ToLower(strings.TrimSpace(req.Header.Get("X-Product-Name")))
	if product != "" && !productNames.MatchString(product) {
		return answer{400, invalidHeader}
	}

	ofType := strings.ToUpper(query.Get("type"))
	found := r.living(func(c *record) bool {
		inWindow := !c.CreatedAt.Before(from) && c.CreatedAt.Before(to)
		return c.Tenant == tenant && inWindow && (product == "" || product == c.ProductName) &&
			(ofType == "" || ofType == c.Type) && hasMetadata(c.Metadata, query)
	})
	if order == "desc" {
		slices.Reverse(found)
	}
	total := len(found)
	pages := (total + limit - 1) / limit
	if number > pages {
		found = found[:0]
	} else {
		found = found[(number-1)*limit : min(number*limit, total)]
	}
	items := []any{}
	if r.multiTenant && number == 1 {
		items = r.listedInternal(tenant, ofType)
		total += len(items)
	}
	for _, c := range found {
		items = append(items, c.shown(false))
	}
	return answer{200, page{Items: items, Page: number, Limit: limit, Total: total}}
}

func (r *Reporter) listedInternal(tenant, ofType string) []any {
	items := []any{}
	for _, c := range r.internal {
		if c.Tenant == tenant && (ofType == "" || ofType == c.Type) {
			items = append(items, c.shown(false))
		}
	}
	return items
}

// hasMetadata reports whether the metadata has all that the parameters metadata.KEY ask for: a string, exactly. A dot in KEY
// leads into an object, so a key with a dot in its name is never found.
func hasMetadata(metadata map[string]any, query url.Values) bool {
	for parameter, values := range query {
		path, asked := strings.CutPrefix(parameter, "metadata.")
		if !asked || values[0] == "" {
			continue
		}
		var value any = metadata
		for key := range strings.SplitSeq(path, ".") {
			object, _ := value.(map[string]any)
			value = object[key]
		}
		if value != values[0] {
			return false
		}
	}
	return true
}

func positive(value string, otherwise int) (int, error) {
	if value == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(value)
	if err == nil && n < 1 {
		err = strconv.ErrRange
	}
	return n, err
}

// window returns the creation times that a list is about: from, and up to but without to. Without dates it is the last
// month, today included. A startDate alone means that day, an endDate alone reaches back to a month ago, both the same
// mean that day too; and of more than one month the last is taken. Days are those of UTC, and an endDate is its first
// instant.
func window(query url.Values, now time.Time) (from, to time.Time, err error) {
	today := now.Truncate(24 * time.Hour)
	start, end := query.Get("startDate"), query.Get("endDate")
	if start == "" && end == "" {
		to = today.AddDate(0, 0, 1)
		return to.AddDate(0, -1, 0), to, nil
	}

	from = today.AddDate(0, -1, 0)
	if start != "" {
		if from, err = time.Parse(time.DateOnly, start); err != nil {
			return from, to, err
		}
	}
	to = from
	if end != "" {
		if to, err = time.Parse(time.DateOnly, end); err != nil {
			return from, to, err
		}
	}
	if to.Equal(from) {
		to = from.AddDate(0, 0, 1)
	}
	if longest := to.AddDate(0, -1, 0); from.Before(longest) {
		from = longest
	}
	return from, to, nil
}
