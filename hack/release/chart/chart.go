// SPDX-License-Identifier: Apache-2.0

// Package chart packages the Helm chart for a release. Its tests compare the chart with config/, and install it on a real control plane.
package chart

import (
	"time"

	"helm.sh/helm/v4/pkg/action"
)

// Package writes the archive of the chart in a directory, for a version of chart and operator, to another directory, and returns its path. The
// same chart has the same archive.
func Package(chart, version, destination string) (string, error) {
	p := action.NewPackage()
	p.Version, p.AppVersion, p.Destination, p.SourceDateEpoch = version, version, destination, new(time.Unix(0, 0))
	return p.Run(chart, nil)
}
