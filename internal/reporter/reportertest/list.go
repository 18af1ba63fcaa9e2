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

// selection is what a list is asked for.
type selection struct {
	query           url.Values
	product, ofType string
	from, to        time.Time
	isDescending    bool
	page, limit     int
}

// parseSelection returns the answer 400 to what the service does not understand. Fields that it does not know do nothing, without a word.
func parseSelection(req *http.Request, now time.Time) (s selection, refusal *answer) {
	s.query = req.URL.Query()
	var err error
	if s.page, err = positive(s.query.Get("page"), 1); err != nil {
		return s, &answer{400, invalidQuery.with("The page must be a number from 1 on.")}
	}
	s.limit, err = positive(s.query.Get("limit"), defaultLimit)
	switch {
	case err != nil:
		return s, &answer{400, invalidQuery.with("The limit must be a number from 1 on.")}
	case s.limit > maxLimit:
		return s, &answer{400, limitExceeded}
	}
	order := strings.ToLower(cmp.Or(s.query.Get("sortOrder"), "desc"))
	if s.isDescending = order == "desc"; order != "asc" && !s.isDescending {
		return s, &answer{400, invalidSortOrder}
	}
	s.from, s.to, err = window(s.query, now)
	switch {
	case err != nil:
		return s, &answer{400, invalidDate}
	case !s.from.Before(s.to):
		return s, &answer{400, invalidFinalDate}
	}
	s.product = strings.ToLower(strings.TrimSpace(req.Header.Get("X-Product-Name")))
	if s.product != "" && !productNames.MatchString(s.product) {
		return s, &answer{400, invalidHeader}
	}
	s.ofType = strings.ToUpper(s.query.Get("type"))
	return s, nil
}

func (s *selection) has(c *record) bool {
	return !c.CreatedAt.Before(s.from) && c.CreatedAt.Before(s.to) && (s.product == "" || s.product == c.ProductName) &&
		(s.ofType == "" || s.ofType == c.Type) && hasMetadata(c.Metadata, s.query)
}

// list shows the connections created in a window of at most one month, so it never proves absence. The header
// X-Product-Name, type and metadata narrow it. In multi-tenant mode the internal connections come first on page 1, whatever is asked for
// but the type.
func (r *Reporter) list(tenant string, req *http.Request) answer {
	asked, refusal := parseSelection(req, r.now())
	if refusal != nil {
		return *refusal
	}
	found := r.living(func(c *record) bool { return c.Tenant == tenant && asked.has(c) })
	if asked.isDescending {
		slices.Reverse(found)
	}
	total := len(found)
	if pages := (total + asked.limit - 1) / asked.limit; asked.page > pages {
		found = found[:0]
	} else {
		found = found[(asked.page-1)*asked.limit : min(asked.page*asked.limit, total)]
	}
	items := []any{}
	if r.multiTenant && asked.page == 1 {
		items = r.listedInternal(tenant, asked.ofType)
		total += len(items)
	}
	for _, c := range found {
		items = append(items, c.shown(false))
	}
	return answer{200, page{Items: items, Page: asked.page, Limit: asked.limit, Total: total}}
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
