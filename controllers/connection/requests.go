// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
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

// handle notes in the status that what some annotations ask for is acted upon.
func handle(rc *v1alpha1.ReporterConnection, annotations ...string) {
	var handled []string
	for _, annotation := range handledAnnotations {
		value := rc.Annotations[annotation.name]
		if value != "" && (slices.Contains(annotations, annotation.name) || !isAskedFor(rc, annotation.name)) {
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
