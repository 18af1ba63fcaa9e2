// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
	"github.com/reporter-operator/reporter-operator/controllers/access"
	"github.com/reporter-operator/reporter-operator/controllers/decision"
)

// handledAnnotations are those whose new values are acted upon once, and their letters in status.handledRequest.
var handledAnnotations = []struct{ name, letter string }{
	{v1alpha1.RequestedAtAnnotation, "r"}, {v1alpha1.TakeBackAnnotation, "t"}, {v1alpha1.AbandonAnnotation, "a"},
}

// isAskedFor says whether an annotation has a value that was not acted upon yet.
func isAskedFor(rc *v1alpha1.ReporterConnection, annotation string) bool {
	for _, handled := range handledAnnotations {
		if value := rc.Annotations[annotation]; handled.name == annotation && value != "" {
			return !strings.Contains(rc.Status.HandledRequest+" ", handled.letter+":"+digestOf(value)+" ")
		}
	}
	return false
}

// handle notes in the status that all that was asked for is acted upon.
func handle(rc *v1alpha1.ReporterConnection) {
	var handled []string
	for _, annotation := range handledAnnotations {
		if value := rc.Annotations[annotation.name]; value != "" {
			handled = append(handled, annotation.letter+":"+digestOf(value))
		}
	}
	rc.Status.HandledRequest = strings.Join(handled, " ")
}

func digestOf(text string) string {
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:8])
}

// bounded cuts what somebody else wrote to what a status takes.
func bounded(text string) string {
	const most = 512
	if runes := []rune(strings.ToValidUTF8(text, "")); len(runes) > most {
		return string(runes[:most])
	}
	return strings.ToValidUTF8(text, "")
}

// refusals are the descriptions that Reporter has refused: they are not sent again until they, their Secrets or what is asked for change.
type refusals struct{ known sync.Map }

func refusalKey(rc *v1alpha1.ReporterConnection, credentials access.DatabaseCredentials) string {
	return fmt.Sprint(rc.Generation, credentials.Version, rc.Annotations[v1alpha1.RequestedAtAnnotation])
}

// find returns why the description was refused, nil if it was not.
func (r *refusals) find(rc *v1alpha1.ReporterConnection, credentials access.DatabaseCredentials) *decision.Block {
	known, found := r.known.Load(rc.UID)
	if !found || known.(refusal).key != refusalKey(rc, credentials) {
		return nil
	}
	return new(known.(refusal).block)
}

func (r *refusals) note(rc *v1alpha1.ReporterConnection, credentials access.DatabaseCredentials, why decision.Block) {
	r.known.Store(rc.UID, refusal{refusalKey(rc, credentials), why})
}

func (r *refusals) forget(rc *v1alpha1.ReporterConnection) { r.known.Delete(rc.UID) }

type refusal struct {
	key   string
	block decision.Block
}
