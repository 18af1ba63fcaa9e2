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
	Items []Connection `json:"items"`
	Page  int          `json:"page"`
	Limit int          `json:"limit"`
	Total int          `json:"total"`
}

// list shows the connections created in a window of at most one month, so it never proves absence. The header
// X-Product-Name narrows it, as the vendor's API reference says.
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

	product := strings.ToLower(req.Header.Get("X-Product-Name"))
	found := []Connection{}
	for _, c := range r.names {
		inWindow := !c.CreatedAt.Before(from) && c.CreatedAt.Before(to)
		if c.Tenant == tenant && inWindow && (product == "" || product == c.ProductName) {
			found = append(found, c.Connection)
		}
	}
	slices.SortFunc(found, oldestFirst)
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
	return answer{200, page{Items: found, Page: number, Limit: limit, Total: total}}
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
