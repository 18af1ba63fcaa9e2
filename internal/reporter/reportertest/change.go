package reportertest

import (
	"net/http"
	"strings"
)

// create reads and checks; the returned write inserts. Only the index of the database keeps a name unique between the two,
// and multi-tenant Reporter has none.
func (r *Reporter) create(tenant string, req *http.Request) (answer, write) {
	product := strings.TrimSpace(req.Header.Get("X-Product-Name"))
	if !productNames.MatchString(product) {
		return answer{400, invalidHeader}, nil
	}
	in, refusal := readInput(req, true)
	if refusal == nil {
		refusal = in.missing()
	}
	if refusal == nil {
		refusal = r.malformed(in, true)
	}
	if refusal != nil {
		return *refusal, nil
	}

	now := r.clock()
	created := stored{Connection: Connection{
		ID:          r.newID(now),
		ProductName: strings.ToLower(product),
		CreatedAt:   now,
		UpdatedAt:   now,
		Tenant:      tenant,
	}}
	if in.SSL != nil && in.SSL.Mode == nil {
		in.SSL.Mode = new("")
	}
	in.applyTo(&created)
	if refusal := created.invalid(); refusal != nil {
		return *refusal, nil
	}
	if len(r.names[created.name()]) > 0 {
		return answer{409, nameTaken}, nil
	}
	return answer{}, func() answer {
		if !r.multiTenant && len(r.names[created.name()]) > 0 {
			return answer{409, nameTaken}
		}
		r.store(&record{stored: created.rounded()})
		return answer{201, created.shown(in.Metadata != nil)}
	}
}

func (r *Reporter) malformed(in input, creating bool) *answer {
	refusal := in.malformed(creating)
	if refusal == nil && r.multiTenant && in.Host != nil && isPrivate(*in.Host) {
		refusal = &answer{400, forbiddenHost}
	}
	return refusal
}

// update reads the whole record, changes and checks it; the returned write puts the whole record back, over whatever others
// have written meanwhile.
func (r *Reporter) update(id string) func(tenant string, req *http.Request) (answer, write) {
	return func(tenant string, req *http.Request) (answer, write) {
		if resolve(id) == "" {
			return answer{400, invalidPath}, nil
		}
		in, refusal := readInput(req, false)
		if refusal == nil {
			refusal = r.malformed(in, false)
		}
		if refusal != nil {
			return *refusal, nil
		}
		c := r.find(tenant, id)
		switch {
		case c == nil || c.internal:
			return answer{404, entityNotFound}, nil
		case r.jobs[c.name()] > 0:
			return answer{409, jobInProgress}, nil
		}
		changed := c.stored
		in.applyTo(&changed)
		changed.UpdatedAt = r.clock()
		if refusal := changed.invalid(); refusal != nil {
			return *refusal, nil
		}
		return answer{}, func() answer {
			if c.deleted {
				return answer{404, entityNotFound}
			}
			for _, owner := range r.names[changed.name()] {
				if owner != c {
					return answer{409, nameTaken}
				}
			}
			r.forget(c)
			c.stored = changed.rounded()
			r.store(c)
			return answer{200, changed.shown(in.Metadata != nil)}
		}
	}
}
