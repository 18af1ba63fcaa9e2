// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/reporter-operator/reporter-operator/api/v1alpha1"
)

func newStatusCommand(c *cluster) *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use:   "status",
		Short: "Tell how the endpoints are, which deletions wait, why and since when",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			var options []client.ListOption
			if !all {
				options = append(options, client.InNamespace(c.namespace))
			}
			return c.status(command.Context(), options...)
		},
	}
	command.Flags().BoolVarP(&all, "all-namespaces", "A", false, "In all namespaces")
	return command
}

func (c *cluster) status(ctx context.Context, options ...client.ListOption) error {
	connections, endpoints, err := c.resources(ctx, options...)
	if err != nil {
		return err
	}
	var waiting []client.Object
	counts := map[types.NamespacedName]int{}
	for i := range connections {
		counts[connections[i].EndpointKey()]++
		if !connections[i].DeletionTimestamp.IsZero() {
			waiting = append(waiting, &connections[i])
		}
	}
	if len(endpoints) == 0 {
		c.say("No endpoints.")
	} else {
		rows := [][]string{{"NAMESPACE", "ENDPOINT", "STATUS", "SINCE", "CONNECTIONS", "URL"}}
		for i := range endpoints {
			e := &endpoints[i]
			reason, since := "Unknown", e.CreationTimestamp
			if ready := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
				reason, since = ready.Reason, ready.LastTransitionTime
			}
			rows = append(rows, []string{e.Namespace, e.Name, reason, ago(since), fmt.Sprint(counts[client.ObjectKeyFromObject(e)]), string(e.Spec.URL)})
			if !e.DeletionTimestamp.IsZero() {
				waiting = append(waiting, e)
			}
		}
		c.table(rows)
	}
	c.say("")
	c.waiting(waiting)
	return nil
}

// waiting prints the deletions that wait, those first that wait for the longest.
func (c *cluster) waiting(objects []client.Object) {
	if len(objects) == 0 {
		c.say("No deletion waits.")
		return
	}
	slices.SortStableFunc(objects, func(a, b client.Object) int {
		return cmp.Or(a.GetDeletionTimestamp().Compare(b.GetDeletionTimestamp().Time), cmp.Compare(a.GetName(), b.GetName()))
	})
	rows := [][]string{{"NAMESPACE", "WAITING", "DELETED", "STATUS", "SINCE", "MESSAGE"}}
	for _, object := range objects {
		reason, since, message := "Unknown", "", ""
		if condition := blockedBy(object); condition != nil {
			reason, since, message = condition.Reason, ago(condition.LastTransitionTime), condition.Message
		}
		rows = append(rows, []string{object.GetNamespace(), strings.TrimPrefix(c.named(object), "Reporter"), ago(*object.GetDeletionTimestamp()), reason, since, message})
	}
	for _, row := range rows[1:] {
		_, row[1], _ = strings.Cut(row[1], "/")
	}
	c.table(rows)
}

func (c *cluster) table(rows [][]string) {
	writer := tabwriter.NewWriter(c.Out, 0, 8, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(writer, strings.Join(row, "\t"))
	}
	writer.Flush() //nolint:errcheck // where the terminal is gone, there is nobody to tell
}

func ago(since metav1.Time) string { return duration.HumanDuration(time.Since(since.Time)) }

// blockedBy is what blocks the deletion of a resource, nil if its status does not say.
func blockedBy(object client.Object) *metav1.Condition {
	switch o := object.(type) {
	case *v1alpha1.ReporterConnection:
		return meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	case *v1alpha1.ReporterEndpoint:
		return meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	}
	return nil
}

// blocked is why the deletion of an object waits, and since when.
func blocked(object client.Object) (reason string, since time.Time) {
	if condition := blockedBy(object); condition != nil {
		return condition.Reason, condition.LastTransitionTime.Time
	}
	return "", since
}
