// SPDX-License-Identifier: Apache-2.0

// Command kubectl-reporter is a plugin of kubectl's: `kubectl reporter` tells what an installation of reporter-operator does and lacks, and
// removes it without leaving anything behind that nobody could release.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// version is set by the linker: see hack/release.
var version = "(devel)"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	err := newCommand(streams).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// newCommand is `kubectl reporter`. Its flags that say which cluster is meant, and as whom to speak to it, are those of kubectl.
func newCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := genericclioptions.NewConfigFlags(true)
	to := &cluster{IOStreams: streams}
	command := &cobra.Command{
		Use:     "kubectl-reporter",
		Short:   "Look after an installation of reporter-operator, and remove it",
		Version: version,
		Annotations: map[string]string{
			cobra.CommandDisplayNameAnnotation: "kubectl reporter",
		},
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return to.connect(flags) },
	}
	flags.AddFlags(command.PersistentFlags())
	command.PersistentFlags().StringVar(&to.operator.Namespace, "operator-namespace", "reporter-operator-system", "Namespace of the operator")
	command.PersistentFlags().StringVar(&to.operator.Name, "operator-name", "reporter-operator", "What the names of the operator's objects begin with")
	command.SetOut(streams.Out)
	command.SetErr(streams.ErrOut)
	command.AddCommand(newStatusCommand(to), newDoctorCommand(to), newUninstallCommand(to), newPreflightCommand(to))
	return command
}
