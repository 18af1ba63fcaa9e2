// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime/debug"
	"sync"
)

// Version is the release that the operator is of, which the linker may set.
var Version = "dev"

// builtFrom returns the version, the revision and the version of Go. Without version control at hand when it was built, the revision is empty.
var builtFrom = sync.OnceValue(func() []string {
	revision, goVersion := "", ""
	if info, found := debug.ReadBuildInfo(); found {
		goVersion = info.GoVersion
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = setting.Value
			}
		}
	}
	return []string{Version, revision, goVersion}
})
